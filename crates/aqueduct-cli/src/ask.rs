//! Asking before something is removed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::Exit;

/// Asks a question that is answered with yes or no, and gives the exit code of an answer that is not yes.
///
/// `yes` is the flag that answers beforehand. Without it and without a terminal nothing is done: a script must say
/// what it means.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Exit> {
    if yes {
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        crate::output::message(&format!(
            "error: {question} There is no terminal to ask on; say --yes to do it"
        ));
        return Err(Exit::Usage);
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    // An input that cannot be read is no yes.
    let _ = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    crate::output::message("nothing was changed");
    Err(Exit::Nothing)
}
