//! The program `cloud-dragon`.

use cloud_dragon::config::{Arguments, Command, completions, without_values};
use cloud_dragon::{cli, document, logging, serve};
use std::process::ExitCode;

/// A request makes and drops some twenty small things, on two threads: a third of what the server used to
/// do was glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::read().unwrap_or_else(|error| without_values(error).exit());
    let settings = match arguments.command {
        Some(Command::Openapi) => {
            println!("{}", document());
            return ExitCode::SUCCESS;
        }
        Some(Command::Export(arguments)) => return cli::run(|| cli::export(&arguments)),
        Some(Command::Import(arguments)) => return cli::run(|| cli::import(&arguments)),
        Some(Command::Backup(command)) => return cli::run(|| cli::backup(&command)),
        Some(Command::Health(arguments)) => return cli::run(|| cli::health(&arguments)),
        Some(Command::Token(command)) => return cli::run(|| cli::token(&command)),
        Some(Command::Lock(arguments)) => return cli::lock(&arguments),
        Some(Command::Get(arguments)) => return cli::get(&arguments),
        Some(Command::Set(arguments)) => return cli::set(&arguments),
        Some(Command::Delete(arguments)) => return cli::delete(&arguments),
        Some(Command::List(arguments)) => return cli::list(&arguments),
        Some(Command::Watch(arguments)) => return cli::watch(&arguments),
        Some(Command::Incr(arguments)) => return cli::incr(&arguments),
        Some(Command::Cas(arguments)) => return cli::cas(&arguments),
        Some(Command::LockSupervisor(arguments)) => return cli::supervise(&arguments),
        Some(Command::Completions { shell }) => {
            return cli::run(|| cli::print(&completions(shell)));
        }
        Some(Command::Serve(settings)) => *settings,
        None => arguments.settings,
    };
    logging::start(&settings);
    match serve::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
