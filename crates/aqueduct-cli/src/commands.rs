//! One file a command.

mod batch;
mod cache;
mod check;
mod checkpoint;
mod clean;
mod connect;
mod demo;
mod dlq;
mod explain;
mod init;
mod preview;
mod queue;
mod run;
mod shell;
mod stand_in;
mod status;
mod store;
mod test;

use aqueduct_orchestrator::{ConfigErrors, Inputs, Override, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::SinkGuarantee;

use crate::exit::Exit;
use crate::flags::{Command, Flags, PipelineFile};
use crate::output;

pub(crate) use run::CLOSING_REFERENCE;

/// Does what was typed.
pub(crate) async fn run(flags: Flags) -> Exit {
    match flags.command {
        Command::Run(run) => run::run(run).await,
        Command::Init(init) => init::init(&init),
        Command::Check(check) => check::check(&check).await,
        Command::Explain(look) => explain::explain(&look),
        Command::Status(look) => status::status(&look).await,
        Command::Dlq(dlq) => dlq::dlq(dlq).await,
        Command::Checkpoint(flags) => checkpoint::checkpoint(flags).await,
        Command::Batch(flags) => batch::batch(flags).await,
        Command::Cache(flags) => cache::cache(flags).await,
        Command::Queue(flags) => queue::queue(flags).await,
        Command::Clean(flags) => clean::clean(flags).await,
        Command::Test(flags) => test::test(flags).await,
        Command::Store(flags) => store::store(flags).await,
        Command::Demo(flags) => demo::demo(flags).await,
        Command::Schema => {
            output::data(&aqueduct_orchestrator::schema::json_schema());
            Exit::Done
        }
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { folder } => shell::man(folder.as_deref()),
        // Answered before the runtime is made.
        Command::Reference { .. } => Exit::Done,
    }
}

/// Reads and checks the pipeline file; prints everything that is wrong with it.
fn load(file: &PipelineFile) -> Result<PipelineSpec, Exit> {
    let mut overrides: Vec<Override> = file.set.iter().map(|assignment| Override::set(assignment)).collect();
    if let Some(folder) = &file.data_dir {
        // A flag is relative to where it is typed, other than a key of the file.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        overrides.push(Override::flag("--data-dir", "data_dir", &folder.display().to_string()));
    }
    let environment = |name: &str| std::env::var(name).ok();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let inputs = Inputs::new(&environment).with_overrides(&overrides).with_cores(cores);
    PipelineSpec::load(&file.file, &inputs).map_err(|errors| {
        print_config_errors(&errors);
        Exit::Config
    })
}

/// Reads the file, and what each sink of it would guarantee. Nothing is touched.
fn load_with_guarantees(file: &PipelineFile) -> Result<(PipelineSpec, Vec<SinkGuarantee>), Exit> {
    let spec = load(file)?;
    match assemble(&spec, RunRequest::default()).guarantees() {
        Ok(guarantees) => Ok((spec, guarantees)),
        Err(error) => {
            output::error(&error);
            Err(Exit::Config)
        }
    }
}

/// What the route as a whole gives.
fn weakest(guarantees: &[SinkGuarantee]) -> &'static str {
    guarantees.iter().map(|sink| sink.guarantee).min().map_or("none", |weakest| weakest.as_str())
}

fn print_config_errors(errors: &ConfigErrors) {
    for error in errors {
        output::message(&format!("error: {error}\n"));
    }
}

/// Item data never moves the cursor of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
