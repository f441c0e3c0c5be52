//! Takes texts through three phases: fetch them (which waits), count their words (which computes), store the counts. One
//! address is wrong, and one needs a second attempt. Then a single phase is run again, by its name.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ShutdownSignal};
use aqueduct_processor::{Config, Context, Job, Phases, Pool};
use aqueduct_retry::{Growth, Schedule};

/// What an item is at each point of its way.
#[derive(Debug)]
enum Text {
    At(&'static str),
    Fetched(String),
    Counted(usize),
    Stored(usize),
}

/// Why a phase cannot take an item on.
#[derive(Debug)]
enum Fault {
    NoSuchAddress,
    Busy,
    WrongPhase,
}

impl Classified for Fault {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchAddress | Self::WrongPhase => ErrorClass::Permanent,
            Self::Busy => ErrorClass::Transient,
        }
    }
}

async fn fetch(text: Arc<Text>, context: Context) -> Result<Text, Fault> {
    match *text {
        Text::At("busy") if context.attempt == 1 => Err(Fault::Busy),
        Text::At("wrong") => Err(Fault::NoSuchAddress),
        Text::At(address) => Ok(Text::Fetched(format!("all that is written at {address}"))),
        _ => Err(Fault::WrongPhase),
    }
}

fn count(text: &Text, _: &Context) -> Result<Text, Fault> {
    match text {
        Text::Fetched(text) => Ok(Text::Counted(text.split_whitespace().count())),
        _ => Err(Fault::WrongPhase),
    }
}

async fn store(text: Arc<Text>, _: Context) -> Result<Text, Fault> {
    match *text {
        Text::Counted(words) => Ok(Text::Stored(words)),
        _ => Err(Fault::WrongPhase),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::system();
    let soon = Schedule::builder(Growth::Constant { delay: Duration::from_millis(10) }).build()?;
    let io = Pool::io(Config { size: 8, retry: soon, ..Config::default() }, clock.clone())?;
    let cpu = Pool::cpu(Config { size: 2, ..Config::default() }, clock.clone())?;
    let phases = Phases::new(clock)
        .io("fetch", &io, Job::default().with_within(Duration::from_secs(30)), fetch)?
        .cpu("count", &cpu, Job::default(), count)?
        .io("store", &io, Job::default(), store)?;

    let texts = ["home", "busy", "wrong"].map(Text::At).into();
    let done = phases.run_all(texts, ShutdownSignal::never()).await;
    for result in &done.results {
        match result {
            Ok(Text::Stored(words)) => println!("stored: {words} words"),
            Ok(text) => println!("not stored: {text:?}"),
            Err(error) => println!("failed to {error}: {:?}", error.error),
        }
    }
    for phase in &done.report.phases {
        println!("{}: {} items, {} errors, {} retries", phase.name, phase.items, phase.errors, phase.retries);
    }

    let again = vec![Text::Fetched("four words of text".into())];
    let counted = phases.run_one("count", again, ShutdownSignal::never()).await?;
    println!("count alone: {:?}", counted.results);
    if let Err(unknown) = phases.run_one("print", Vec::new(), ShutdownSignal::never()).await {
        println!("failed to {unknown}");
    }
    Ok(())
}
