//! A language, its folder `clients/…`, and its guide `docs/clients/….md`.

use crate::guide;
use crate::losing_proxy::LosingProxy;
use crate::server::{Server, forget_settings, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Language {
    /// What its folder and its guide are called.
    pub name: &'static str,
    /// What its blocks in the guide are marked as.
    pub marked: &'static str,
    /// How its sources end.
    pub extension: &'static str,
}

pub const LANGUAGES: &[Language] = &[
    Language { name: "go", marked: "go", extension: "go" },
    Language { name: "java", marked: "java", extension: "java" },
    Language { name: "progenitor", marked: "rust", extension: "rs" },
    Language { name: "python", marked: "python", extension: "py" },
    Language { name: "rust", marked: "rust", extension: "rs" },
    Language { name: "typescript", marked: "typescript", extension: "ts" },
];

/// What every scenario does.
const STEPS: [&str; 9] = [
    "auth",
    "lock with a wait",
    "guarded write",
    "counter",
    "compare-and-swap",
    "idempotent retry",
    "watch loop",
    "list pages",
    "exact numbers and values",
];

/// With which status the scripts end where a tool is missing.
const SKIPPED: i32 = 77;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Language {
    pub fn folder(&self) -> PathBuf {
        root().join("clients").join(self.name)
    }

    pub fn guide(&self) -> String {
        let path = root().join("docs/clients").join(self.name).with_extension("md");
        std::fs::read_to_string(path).unwrap()
    }

    /// Walks the guide, and runs the scenario with the client that was generated on the way. Gives why it was not done.
    pub fn try_it(&self) -> Option<String> {
        let generated = run(Command::new(self.folder().join("generate.sh")));
        if generated.status.code() == Some(SKIPPED) {
            let why = String::from_utf8_lossy(&generated.stderr).trim().to_owned();
            eprintln!("{}: {why}", self.name);
            return Some(why);
        }
        succeeded("generate.sh", &generated);
        let server = Server::start();
        guide::walk(&self.guide(), server.address);
        self.run_scenario();
        None
    }

    fn run_scenario(&self) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens.toml");
        let [write, read] = ["write", "read"].map(|right| new_token(&tokens, right));
        let server = Server::start_with(&["--tokens".as_ref(), tokens.as_os_str()]);
        let proxy = LosingProxy::start(server.address);
        let mut scenario = Command::new(self.folder().join("scenario.sh"));
        forget_settings(&mut scenario);
        scenario.envs([
            ("DRAGON_SERVER", format!("http://{}", server.address)),
            ("DRAGON_BREAKING_SERVER", format!("http://{}", proxy.address)),
            ("DRAGON_TOKEN", write),
            ("DRAGON_READ_TOKEN", read),
            ("DRAGON_ACCOUNT", format!("clients-{}", self.name)),
        ]);
        let ran = run(scenario);
        let said = succeeded("scenario.sh", &ran);
        let missing: Vec<_> =
            STEPS.iter().filter(|step| !said.lines().any(|line| line == format!("ok: {step}"))).collect();
        assert!(missing.is_empty(), "the scenario has not done {missing:?}:\n{said}");
    }
}

fn new_token(file: &Path, right: &str) -> String {
    let mut program = program();
    program.args(["token", "new", right, "--account", "*", "--right", right, "--tokens"]).arg(file);
    succeeded("token new", &run(program)).trim().to_owned()
}

/// Runs a command in the test's own environment.
pub fn run(mut command: Command) -> Output {
    // What Maven downloads, and what the guide installs, is not for the home folder of whoever runs the tests.
    let repository = root().join("target/clients/java/repository");
    command.env("MAVEN_OPTS", format!("-Dmaven.repo.local={}", repository.display()));
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Requires success, and gives what was printed.
pub fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{said}\n{errors}", output.status);
    said
}
