//! How models are asked and how they answer: the shapes that nearly all services have.

use aqueduct_stream::StageError;
use serde_json::{Value as Json, json};

use crate::spec::{ModelShape, ModelSpec};

/// What a model answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// Tokens of request and answer, as the service counts them.
    pub(crate) tokens: u64,
    /// Whether it read the URL that it was to read; true where there was none.
    pub(crate) read: bool,
    /// What it said of the URL.
    status: String,
}

impl Reply {
    /// Why the URL was not read, in words.
    pub(crate) fn why_unread(&self) -> String {
        if self.status.is_empty() { "it said nothing of the URL".to_owned() } else { self.status.clone() }
    }
}

impl ModelShape {
    /// The address of a request.
    pub(crate) fn target(self, spec: &ModelSpec) -> String {
        let base = spec.url.as_ref().map_or_else(|| self.base(), |url| url.expose()).trim_end_matches('/');
        match self {
            Self::ChatCompletions => format!("{base}/v1/chat/completions"),
            Self::GenerateContent => format!("{base}/v1beta/models/{}:generateContent", spec.model),
        }
    }

    /// The service that made the shape.
    fn base(self) -> &'static str {
        match self {
            Self::ChatCompletions => "https://api.openai.com",
            Self::GenerateContent => "https://generativelanguage.googleapis.com",
        }
    }

    /// How it is told who asks.
    pub(crate) fn key_header(self, key: &str) -> (String, String) {
        match self {
            Self::ChatCompletions => ("authorization".to_owned(), format!("Bearer {key}")),
            Self::GenerateContent => ("x-goog-api-key".to_owned(), key.to_owned()),
        }
    }

    /// What is asked.
    pub(crate) fn request(self, spec: &ModelSpec, prompt: &str, url: Option<&str>) -> Json {
        match self {
            Self::ChatCompletions => {
                let mut request = json!({
                    "model": spec.model,
                    "messages": [{ "role": "user", "content": prompt }],
                });
                if let Some(tokens) = spec.answer_tokens_max {
                    request["max_tokens"] = tokens.into();
                }
                if let Some(temperature) = spec.temperature {
                    request["temperature"] = temperature.into();
                }
                request
            }
            Self::GenerateContent => {
                let mut request = json!({ "contents": [{ "role": "user", "parts": [{ "text": prompt }] }] });
                if let Some(tokens) = spec.answer_tokens_max {
                    request["generationConfig"]["maxOutputTokens"] = tokens.into();
                }
                if let Some(temperature) = spec.temperature {
                    request["generationConfig"]["temperature"] = temperature.into();
                }
                if url.is_some() {
                    request["tools"] = json!([{ "url_context": {} }]);
                }
                request
            }
        }
    }

    /// What was answered. `asked_to_read` says whether it was to read a URL.
    pub(crate) fn reply(self, body: &[u8], asked_to_read: bool) -> Result<Reply, StageError> {
        let answer: Json = serde_json::from_slice(body)
            .map_err(|error| StageError::permanent("the model's answer is not JSON").with_source(error))?;
        let (text, tokens, end) = match self {
            Self::ChatCompletions => {
                let choice = &answer["choices"][0];
                let text = choice["message"]["content"].as_str().unwrap_or_default().to_owned();
                (text, &answer["usage"]["total_tokens"], &choice["finish_reason"])
            }
            Self::GenerateContent => {
                let candidate = &answer["candidates"][0];
                let parts = candidate["content"]["parts"].as_array().map_or(&[][..], Vec::as_slice);
                let text = parts.iter().filter_map(|part| part["text"].as_str()).collect();
                (text, &answer["usageMetadata"]["totalTokenCount"], &candidate["finishReason"])
            }
        };
        let tokens = tokens.as_u64().unwrap_or(0);
        let (read, status) = if asked_to_read { urls_read(&answer) } else { (true, String::new()) };
        if text.trim().is_empty() && read {
            let end = end.as_str().unwrap_or("none");
            return Err(StageError::permanent(format!("the model gave no text (finish reason {end})")));
        }
        Ok(Reply { text, tokens, read, status })
    }
}

/// Whether the model read what it was to read, and what it says of it.
fn urls_read(answer: &Json) -> (bool, String) {
    let metadata = &answer["candidates"][0]["urlContextMetadata"]["urlMetadata"];
    let urls = metadata.as_array().map_or(&[][..], Vec::as_slice);
    let statuses: Vec<&str> = urls.iter().filter_map(|url| url["urlRetrievalStatus"].as_str()).collect();
    let read =
        !statuses.is_empty() && statuses.iter().all(|status| *status == "URL_RETRIEVAL_STATUS_SUCCESS");
    (read, statuses.join(", "))
}
