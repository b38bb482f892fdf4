//! The `brooklet` program: reads flags, hands its world to the library.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use brooklet::config::{self, ServeArgs, Settings};
use brooklet::demo::{self, DemoArgs};
use brooklet::explain::{self, ExplainArgs};
use brooklet::verify::{self, Verdict, VerifyArgs};
use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A self-hosted sync engine: any Postgres as a real-time database over plain HTTP.
#[derive(Parser, Debug)]
#[command(version)]
enum Command {
    /// Serve a database.
    Serve(ServeArgs),
    /// Serve a throw-away database with sample data and live writes.
    Demo(DemoArgs),
    /// Compare what a server serves with Postgres' own answer, row for row.
    Verify(VerifyArgs),
    /// Show what a filter becomes and how its shape is found for a changed row, or why it is refused.
    Explain(ExplainArgs),
}

fn main() -> ExitCode {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let command =
        ["serve", "verify", "demo", "explain"].iter().fold(Command::command(), |command, name| {
            command.mut_subcommand(name, |part| config::accept_aliases(part, is_set))
        });
    let command = Command::from_arg_matches(&command.get_matches()).unwrap_or_else(|e| e.exit());
    let outcome = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = outcome.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(run(command));
        // Plain threads may be blocked on files; the process ends without them.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("brooklet: {}", brooklet::told(&error));
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => {
            log_to_stderr(&args.log_level)?;
            let settings = args.settings()?;
            let place = (settings.address, settings.port);
            let refused = || {
                format!(
                    "cannot listen on {}, port {}; choose another with --port",
                    place.0, place.1
                )
            };
            let listener = TcpListener::bind(place).await.with_context(refused)?;
            brooklet::server::run(settings, listener, announce, stopped()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(args) => run_demo(args).await,
        Command::Verify(args) => {
            log_to_stderr("warn")?;
            Ok(match verify::run(args).await? {
                Verdict::Equal => ExitCode::SUCCESS,
                Verdict::Different => ExitCode::FAILURE,
                Verdict::Incomplete => ExitCode::from(2),
            })
        }
        Command::Explain(args) => {
            log_to_stderr("warn")?;
            Ok(match explain::run(args).await? {
                Ok(text) => {
                    print!("{text}");
                    ExitCode::SUCCESS
                }
                Err(refusal) => {
                    println!("refused      {refusal}");
                    ExitCode::FAILURE
                }
            })
        }
    }
}

async fn run_demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr("warn")?;
    let mut stop = std::pin::pin!(stopped()?);
    let listener = args.bind().await?;
    let mut demo = tokio::select! {
        demo = demo::start(&args) => demo?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let settings = Settings::demo(demo.database_url(), demo.storage_dir());
    demo.begin_writes();
    let instructions = |address: SocketAddr| {
        println!("{}", demo.instructions(&format!("http://{address}")));
    };
    let outcome = brooklet::server::run(settings, listener, instructions, stop).await;
    demo.stop().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn announce(address: SocketAddr) {
    println!("brooklet is listening on http://{address}");
}

/// Completes on Ctrl-C and on SIGTERM.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// `RUST_LOG` wins over the level of the flag.
fn log_to_stderr(level: &str) -> anyhow::Result<()> {
    let asked = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    // What the flag says of the same comes later, and so holds.
    let filter = asked.unwrap_or_else(|| format!("pgwire_replication=warn,{level}"));
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
