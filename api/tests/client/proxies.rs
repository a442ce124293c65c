//! The proxies that the environment names. It is that of a process of its own: the program speaks by the client.

use crate::place::Place;
use crate::scripted;
use crate::support::Frontend;

#[tokio::test]
async fn proxies_of_the_environment_are_gone_by_but_not_to_this_machine() {
    let place = Place::start();
    let port = place.server.address().port();
    let proxy = scripted::server(vec![Some(("200 OK", r#"{"Atomic":[{"Key":"n","Value":77}]}"#))]).await;
    let add = async |server: String| {
        let proxy = format!("http://{proxy}");
        let added = tokio::task::spawn_blocking(move || {
            let proxies = ["http_proxy", "HTTP_PROXY"].map(|name| (name, proxy.clone()));
            let exceptions = ["no_proxy", "NO_PROXY"].map(|name| (name, String::new()));
            Frontend::run_to_end_with(&["incr", "n", "--server", &server], &[proxies, exceptions].concat())
        });
        added.await.unwrap().output
    };
    assert_eq!(add("http://dragon.invalid".to_owned()).await, "77\n");
    assert_eq!(add(format!("http://127.0.0.1:{port}")).await, "1\n");
    assert_eq!(add(format!("http://localhost:{port}")).await, "2\n");
}
