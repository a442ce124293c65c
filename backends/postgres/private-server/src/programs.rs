//! Postgres's programs: where they are, and how they are run, as root too.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The folder with `initdb` and its like.
#[derive(Debug)]
pub(crate) struct Programs(PathBuf);

/// Where a server's folder has its data.
pub(crate) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

impl Programs {
    /// In `PATH`, else the newest of Debian's folders.
    pub(crate) fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).collect::<Vec<_>>();
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let found = in_path
            .into_iter()
            .chain(versions.into_iter().map(|(_, programs)| programs))
            .find(|folder| {
                ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).exists())
            })
            .expect(
                "initdb, pg_ctl and postgres are neither in PATH nor in /usr/lib/postgresql/*/bin: install \
                 Debian's package `postgresql`, or set DRAGON_TEST_POSTGRES to the URL of a server",
            );
        Self(found)
    }

    /// Makes the data of a server in its folder.
    pub(crate) fn initdb(&self, folder: &Path) {
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(folder));
        }
        let mut initdb = as_postgres(&self.0.join("initdb"));
        run(initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(data(folder)));
    }

    /// The program that starts and stops the server in a folder.
    pub(crate) fn pg_ctl(&self, folder: &Path) -> Command {
        let mut pg_ctl = as_postgres(&self.0.join("pg_ctl"));
        pg_ctl.arg("-D").arg(data(folder));
        pg_ctl
    }

    /// A process that waits for the end of its input, then stops the server and removes its folder.
    pub(crate) fn keep(&self, folder: &Path) -> Child {
        const SCRIPT: &str = r#"read -r _; "$@" -m immediate -s stop; rm -rf "$FOLDER""#;
        let pg_ctl = self.pg_ctl(folder);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", SCRIPT, "sh"]).arg(pg_ctl.get_program()).args(pg_ctl.get_args());
        keeper.env("FOLDER", folder).current_dir("/");
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What interrupts this process does not reach it.
        keeper.process_group(0).spawn().expect("a shell")
    }
}

/// Whether this process runs as root, as which Postgres and its like refuse to run.
///
/// # Panics
/// Where there is no `id`.
#[must_use]
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("`id` runs");
    id.stdout.trim_ascii() == b"0"
}

/// Postgres refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let found = Command::new("id").args(["-u", "postgres"]).output().expect("`id` runs");
        assert!(
            found.status.success(),
            "Postgres refuses to run as root and there is no user `postgres`: install Debian's package \
             `postgresql`, or run the tests as another user"
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{command:?} failed: {said:?}");
}
