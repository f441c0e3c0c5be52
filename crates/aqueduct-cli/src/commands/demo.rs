mod backend;

use crate::exit::Exit;
use crate::flags::Demo;

/// Shows something.
pub(super) async fn demo(flags: Demo) -> Exit {
    match flags {
        Demo::Backend(flags) => backend::backend(flags).await,
    }
}
