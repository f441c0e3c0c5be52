use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::redacted::Redacted;
use crate::spec::{ExecSpec, HttpSpec, InnerSpec, ModelSpec, PipelineSpec, Target};

/// Says in 32 letters what the inner stage is and whom it asks: results of another one are not found, in this pipeline after
/// a change and in others that share a server. References count as what they were resolved to, since the same reference
/// may name another service or another account elsewhere; of a hash nobody reads them back.
///
/// What plays the services (`is_played`) gives answers of its own, which are nobody's when the calls are real.
pub(in crate::assembly) fn meaning(spec: &PipelineSpec, of: &InnerSpec, is_played: bool) -> String {
    // Every expression and every text as it is written, each field by its name.
    let mut text = String::new();
    let mut resolved: Vec<&Redacted> = Vec::new();
    match of {
        InnerSpec::Http(http) => {
            // How many at once and out of which allowance does not matter for the answer.
            let asked = HttpSpec { backend: 0, in_flight: 0, draw: None, ..HttpSpec::clone(http) };
            let _ = write!(text, "{asked:?}");
            resolved.extend(&spec.backends[http.backend].endpoints);
            if let Target::Url(url) = &http.target {
                resolved.extend(url.texts());
            }
            resolved.extend(http.headers.iter().flat_map(|(_, value)| value.texts()));
        }
        InnerSpec::Model(model) => {
            let asked = ModelSpec {
                backend: 0,
                pages: None,
                in_flight: 0,
                draw: None,
                draw_tokens: None,
                ..ModelSpec::clone(model)
            };
            let _ = write!(text, "{asked:?}");
            resolved.extend(&spec.backends[model.backend].endpoints);
            resolved.extend(model.url.iter().chain(&model.key));
        }
        InnerSpec::Exec(exec) => {
            let ExecSpec { command, environment, .. } = &**exec;
            let _ = write!(text, "{command:?} {environment:?}");
            resolved.extend(command.iter().chain(environment.iter().map(|(_, value)| value)));
        }
    }
    let mut hash = Sha256::new().chain_update([u8::from(is_played)]).chain_update(text);
    for value in resolved {
        let length = (value.expose().len() as u64).to_le_bytes();
        hash = hash.chain_update(length).chain_update(value.expose());
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
