//! Models that are none, in the shapes in which two services answer.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::summary::{CHARS_PER_TOKEN, cut, summary, text_of, tokens};
use super::{Asked, hash, pages};
use crate::backend::answer::Answer;

/// A chat completion in OpenAI's shape.
pub(super) fn chat(asked: &Asked<'_>) -> Answer {
    let request: Value = match serde_json::from_slice(asked.body) {
        Ok(request) => request,
        Err(error) => return Answer::invalid(&format!("the body is not JSON: {error}")),
    };
    let Some(model) = request["model"].as_str() else { return Answer::invalid("model is missing") };
    let Some(messages) = request["messages"].as_array() else {
        return Answer::invalid("messages is missing");
    };
    if request["stream"] == true {
        return Answer::invalid("stream is true; this backend answers in one piece");
    }
    let of_role = |role: &str| messages.iter().rev().find(|message| message["role"] == role);
    let Some(given) = of_role("user").map(|message| content(&message["content"])) else {
        return Answer::invalid("messages has none of the user");
    };
    let instructed = of_role("system").or_else(|| of_role("developer")).is_some();
    let max = request["max_completion_tokens"].as_u64().or_else(|| request["max_tokens"].as_u64());
    let said = Said::of(text_behind_instruction(&given, instructed), max);
    let prompt: u64 = messages.iter().map(|message| tokens(&content(&message["content"]))).sum();
    let response = json!({
        "id": format!("chatcmpl-{:016x}", hash(&given)),
        "object": "chat.completion",
        "created": asked.wall.0.div_euclid(1000),
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": said.text, "refusal": null },
            "logprobs": null,
            "finish_reason": if said.cut { "length" } else { "stop" },
        }],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": said.tokens, "total_tokens": prompt + said.tokens,
        },
    });
    Answer::json(StatusCode::OK, &response)
}

/// The answer of `models/MODEL:generateContent` in Gemini's shape.
pub(super) fn generate(asked: &Asked<'_>, call: &str) -> Answer {
    let model = call.strip_prefix("models/").and_then(|call| call.strip_suffix(":generateContent"));
    let Some(model) = model.filter(|model| !model.is_empty()) else {
        return Answer::error(StatusCode::NOT_FOUND, "the call is models/MODEL:generateContent");
    };
    let request: Value = match serde_json::from_slice(asked.body) {
        Ok(request) => request,
        Err(error) => return Answer::invalid(&format!("the body is not JSON: {error}")),
    };
    let Some(contents) = request["contents"].as_array() else {
        return Answer::invalid("contents is missing");
    };
    let given =
        contents.iter().rev().find(|content| content["role"] != "model").map(parts).unwrap_or_default();
    let instruction = [&request["systemInstruction"], &request["system_instruction"]]
        .into_iter()
        .find(|instruction| instruction.is_object())
        .map(parts);
    let config = &request["generationConfig"];
    let max = config["maxOutputTokens"].as_u64();
    let prompt = contents.iter().map(|content| tokens(&parts(content))).sum::<u64>()
        + instruction.as_deref().map_or(0, tokens);

    let asks_to_read = request["tools"].as_array().is_some_and(|tools| {
        tools.iter().any(|tool| tool["url_context"].is_object() || tool["urlContext"].is_object())
    });
    let urls = if asks_to_read { urls_in(&given) } else { Vec::new() };
    let read: Vec<(&str, Option<String>)> = urls.iter().map(|url| (*url, read(asked, url))).collect();
    let pages: Vec<&str> = read.iter().filter_map(|(_, text)| text.as_deref()).collect();
    // Who asks for a page that cannot be read gets no content, and has to fetch it and ask again.
    let said = match (read.is_empty(), pages.is_empty()) {
        (true, _) => Some(Said::of(text_behind_instruction(&given, instruction.is_some()), max)),
        (false, false) => Some(Said::of(&pages.join("\n"), max)),
        (false, true) => None,
    };
    let tool_tokens: u64 = pages.iter().copied().map(tokens).sum();
    let candidate_tokens = said.as_ref().map_or(0, |said| said.tokens);
    let mut candidate = json!({
        "content": { "role": "model" },
        "finishReason": if said.as_ref().is_some_and(|said| said.cut) { "MAX_TOKENS" } else { "STOP" },
        "index": 0,
    });
    if let Some(said) = said {
        candidate["content"]["parts"] = json!([{ "text": said.text }]);
    }
    let mut usage = json!({
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidate_tokens,
        "totalTokenCount": prompt + tool_tokens + candidate_tokens,
    });
    if !read.is_empty() {
        let status = |text: &Option<String>| match text {
            Some(_) => "URL_RETRIEVAL_STATUS_SUCCESS",
            None => "URL_RETRIEVAL_STATUS_ERROR",
        };
        let urls: Vec<Value> = read
            .iter()
            .map(|(url, text)| json!({ "retrievedUrl": url, "urlRetrievalStatus": status(text) }))
            .collect();
        candidate["urlContextMetadata"] = json!({ "urlMetadata": urls });
        usage["toolUsePromptTokenCount"] = json!(tool_tokens);
    }
    let response = json!({
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": format!("{:016x}", hash(&given)),
    });
    Answer::json(StatusCode::OK, &response)
}

/// What a model says.
struct Said {
    text: String,
    tokens: u64,
    /// Whether there was more than it was allowed to say.
    cut: bool,
}

impl Said {
    fn of(text: &str, tokens_max: Option<u64>) -> Self {
        let whole = summary(text);
        let chars = usize::try_from(tokens_max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let text = cut(&whole, chars.saturating_mul(CHARS_PER_TOKEN)).to_owned();
        Self { tokens: tokens(&text), cut: text.len() < whole.len(), text }
    }
}

/// The text to be summed up. Where nothing else holds the instruction, it is what stands before the first empty line.
fn text_behind_instruction(given: &str, instructed: bool) -> &str {
    match given.split_once("\n\n") {
        Some((_, text)) if !instructed && !text.trim().is_empty() => text,
        _ => given,
    }
}

/// The content of a message: a text, or a list of parts.
fn content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn parts(content: &Value) -> String {
    self::content(&content["parts"])
}

/// As many as the real tool reads in one call.
const URLS_MAX: usize = 20;

/// The addresses in a text.
fn urls_in(text: &str) -> Vec<&str> {
    text.split(|letter: char| letter.is_whitespace() || "<>\"'()".contains(letter))
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|url| url.trim_end_matches(['.', ',', ';', ':', '!', '?']))
        .take(URLS_MAX)
        .collect()
}

/// Reads a page of this backend itself. It asks no network: any other address cannot be read.
fn read(asked: &Asked<'_>, url: &str) -> Option<String> {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let page = if asked.script.any_path {
        pages::named(asked, plain)
    } else {
        let path = asked.origins.iter().find_map(|origin| plain.strip_prefix(origin.as_str()))?;
        asked.script.pages.get(&super::decoded(path.strip_prefix("/pages/")?))
    };
    let page = page.filter(|page| page.readable)?;
    Some(text_of(&String::from_utf8_lossy(&page.html)))
}
