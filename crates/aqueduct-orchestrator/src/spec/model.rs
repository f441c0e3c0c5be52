//! A language model that is asked about each item.

use std::sync::Arc;

use super::backend::Statuses;
use crate::expression::Expression;
use crate::redacted::Redacted;

/// A model and what it is asked.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Which backend it is behind, an index into [`PipelineSpec::backends`](crate::PipelineSpec::backends).
    pub backend: usize,
    /// Which backend has the pages that the model cannot read by itself, an index like the other.
    pub pages: Option<usize>,
    /// How it is asked.
    pub shape: ModelShape,
    /// The name of the model.
    pub model: String,
    /// The service; without it, the one that made the shape.
    pub url: Option<Redacted>,
    /// Who asks.
    pub key: Option<Redacted>,
    /// What it is asked.
    pub prompt: Arc<Expression>,
    /// What it is given to read.
    pub text: Option<Arc<Expression>>,
    /// The page that it reads by itself.
    pub read_url: Option<Arc<Expression>>,
    /// The field of its answer.
    pub into: String,
    /// The field of the tokens that it took.
    pub tokens_into: String,
    /// The fields carried over; without it, all.
    pub keep: Option<Vec<String>>,
    /// The longest answer in tokens; without it, what the service gives.
    pub answer_tokens_max: Option<u64>,
    /// How much is left to chance; without it, what the service does.
    pub temperature: Option<f64>,
    /// The most letters of a text that it is given; the rest is cut off.
    pub text_chars_max: usize,
    /// What statuses mean.
    pub statuses: Arc<Statuses>,
    /// Keeps every answer until it is committed.
    pub journal: bool,
    /// The allowance that each item draws on, an index into [`PipelineSpec::budget`](crate::PipelineSpec::budget).
    pub draw: Option<usize>,
    /// The allowance that the tokens of each answer draw on, an index like the other.
    pub draw_tokens: Option<usize>,
    /// The most items that it works on at once.
    pub in_flight: usize,
}

impl ModelSpec {
    /// The expressions in it.
    pub(crate) fn expressions(&self) -> Vec<&Expression> {
        let optional = self.text.as_deref().into_iter().chain(self.read_url.as_deref());
        std::iter::once(&*self.prompt).chain(optional).collect()
    }
}

/// How a model is asked and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelShape {
    /// As OpenAI and all that imitate it have it: `POST /v1/chat/completions`.
    ChatCompletions,
    /// As Gemini has it: `POST /v1beta/models/MODEL:generateContent`. It can read URLs.
    GenerateContent,
}
