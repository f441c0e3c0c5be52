//! What a file and the environment say of backends, and what is wrong with it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use aqueduct_orchestrator::{
    BackendSpec, Concurrency, Inputs, Override, PipelineSpec, Scope, StageKind, Target,
};

const REST: &str =
    "name = \"p\"\nsource = { type = \"jsonl\", path = \"a\" }\nsink = { type = \"stdout\" }\n";

fn parse(text: &str, variables: &[(&str, &str)], sets: &[&str]) -> Result<PipelineSpec, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let overrides: Vec<Override> = sets.iter().map(|set| Override::set(set)).collect();
    let inputs = Inputs::new(&environment).with_overrides(&overrides);
    PipelineSpec::parse("p.toml", Path::new(""), format!("{REST}{text}").as_bytes(), &inputs)
        .map_err(|errors| errors.to_string())
}

fn backend(lines: &str, variables: &[(&str, &str)], sets: &[&str]) -> BackendSpec {
    let text = format!("[[backend]]\nname = \"b\"\n{lines}\n");
    parse(&text, variables, sets).unwrap_or_else(|errors| panic!("{errors}")).backends.remove(0)
}

/// Default, file, environment and flag of one key, each stronger than the one before, and a wrong value.
fn check(variable: &'static str, key: &str, default: u64, read: impl Fn(&BackendSpec) -> (u64, String)) {
    let (file, flag) = (format!("{key} = 11"), format!("backend.b.{key}=13"));
    assert_eq!(read(&backend("", &[], &[])), (default, "default".to_owned()));
    assert_eq!(read(&backend(&file, &[], &[])), (11, "file".to_owned()));
    assert_eq!(read(&backend(&file, &[(variable, "12")], &[])), (12, format!("environment {variable}")));
    assert_eq!(read(&backend(&file, &[(variable, "12")], &[&flag])), (13, format!("--set {flag}")));
    assert_eq!(read(&backend(&file, &[(variable, "")], &[])), (11, "file".to_owned()), "empty is unset");
    for wrong in ["-1", "many", "1.5", "99999999999999999999"] {
        let error = parse("", &[(variable, wrong)], &[]).unwrap_err();
        assert!(
            error.starts_with(&format!("{variable}: the value is {wrong:?}, and must be an integer from")),
            "{error}"
        );
    }
}

#[test]
fn max_requests_per_minute_is_60_by_default() {
    check("MAX_REQUESTS_PER_MINUTE", "requests_per_minute", 60, |backend| {
        (backend.requests_per_minute.value, backend.requests_per_minute.origin.to_string())
    });
}

#[test]
fn connection_pool_size_is_10_hosts_by_default() {
    check("CONNECTION_POOL_SIZE", "hosts", 10, |backend| {
        (backend.client.hosts.value as u64, backend.client.hosts.origin.to_string())
    });
}

#[test]
fn connection_pool_max_is_20_connections_to_a_host_by_default() {
    check("CONNECTION_POOL_MAX", "connections_per_host", 20, |backend| {
        let connections = &backend.client.connections_per_host;
        (connections.value as u64, connections.origin.to_string())
    });
}

#[test]
fn circuit_breaker_threshold_is_5_failures_by_default() {
    check("CIRCUIT_BREAKER_THRESHOLD", "breaker_failures", 5, |backend| {
        (backend.breaker_failures.value.into(), backend.breaker_failures.origin.to_string())
    });
}

#[test]
fn circuit_breaker_timeout_is_300_seconds_by_default() {
    check("CIRCUIT_BREAKER_TIMEOUT", "breaker_open_seconds", 300, |backend| {
        (backend.breaker_open.value.as_secs(), backend.breaker_open.origin.to_string())
    });
}

#[test]
fn retry_max_attempts_is_3_retries_after_the_first_call_by_default() {
    check("RETRY_MAX_ATTEMPTS", "retries", 3, |backend| {
        (backend.retries.value.into(), backend.retries.origin.to_string())
    });
    let waits = backend("", &[], &[]);
    assert_eq!(
        (waits.retry_delay, waits.retry_delay_max >= Duration::from_secs(8)),
        (Duration::from_secs(2), true)
    );
}

#[test]
fn gemini_api_key_fills_a_reference_and_its_absence_has_a_default() {
    let stage = "[[stage]]\nname = \"s\"\ntype = \"model\"\nshape = \"generate-content\"\nmodel = \"m\"\nprompt = \"'p'\"\n\
                 key = \"${env:GEMINI_API_KEY:-none}\"\n";
    for (variables, expected) in
        [(&[][..], "none"), (&[("GEMINI_API_KEY", "k")], "k"), (&[("GEMINI_API_KEY", "")], "none")]
    {
        let spec = parse(stage, variables, &[]).unwrap();
        let StageKind::Model(model) = &spec.stages[0].kind else { panic!() };
        let key = model.key.as_ref().unwrap();
        assert_eq!((key.expose(), key.written()), (expected, "${env:GEMINI_API_KEY:-none}"));
    }
}

#[test]
fn a_stand_in_plays_until_the_variable_of_the_real_service_is_set() {
    let text = "[stand_in]\nunless = \"GEMINI_API_KEY\"\nhosts = 2\n";
    assert_eq!(parse(text, &[], &[]).unwrap().stand_in.unwrap().hosts, 2);
    assert_eq!(parse(text, &[("GEMINI_API_KEY", " ")], &[]).unwrap().stand_in.unwrap().hosts, 2);
    assert_eq!(parse(text, &[("GEMINI_API_KEY", "k")], &[]).unwrap().stand_in, None);
}

#[test]
fn stages_without_a_backend_have_one_of_their_own_with_every_default() {
    let spec = parse(
        "[[stage]]\nname = \"ask\"\ntype = \"http\"\nurl = \"https://a.example/{item.id}\"\n",
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(spec.backends.len(), 1);
    let own = &spec.backends[0];
    assert_eq!((own.name.as_str(), own.scope, own.concurrency), ("ask", Scope::Host, Concurrency::Fixed(64)));
    assert!(!own.client.allow_private);
    let StageKind::Http(http) = &spec.stages[0].kind else { panic!() };
    let Target::Url(url) = &http.target else { panic!() };
    assert_eq!(url.to_string(), "https://a.example/{item.id}");
    assert!(!http.idempotency_key, "a GET changes nothing");
}

#[test]
fn everything_that_is_wrong_is_told_with_its_place() {
    let stage = |lines: &str| format!("[[stage]]\nname = \"s\"\ntype = \"http\"\n{lines}\n");
    let endpoints = "[[backend]]\nname = \"b\"\nendpoints = [\"https://a.example\"]\n";
    for (text, expected) in [
        (stage("url = \"https://{item.host}/x\""), "would name the host"),
        (stage("url = \"{item.url}\""), "there is url_from"),
        (stage("url = \"https://a.example/{item.}\""), "p.toml:7"),
        (stage("url = \"https://a.example/{item.id\""), "a place is not closed"),
        (stage("url = \"https://a.example/#{item.id}\""), "fragment"),
        (stage("url = \"https://a/\"\nurl_from = \"item.url\""), "has two targets"),
        (stage(""), "lacks the key \"url\""),
        (stage("url = \"https://a/\"\nbackend = \"bb\""), "there is no backend \"bb\""),
        (stage("url = \"https://a/\"\nheaders = { Host = \"x\" }"), "written by the client itself"),
        (stage("url = \"https://a/\"\nheaders = { \"a b\" = \"x\" }"), "is not the name of a header field"),
        (stage("url = \"https://a/\"\nheaders = { a = \"x\\r\\nb: c\" }"), "has a line end in its value"),
        (stage("url = \"https://a/\"\nsuccess = [\"ok\"]"), "\"ok\" is not a status"),
        (stage("url = \"https://a/\"\ndraw = \"fetches\""), "there is no allowance in [budget] \"fetches\""),
        (stage("url = \"https://a/\"\nretires = 3"), "has no key \"retires\""),
        (format!("{endpoints}{}", stage("url = \"https://a/\"\nbackend = \"b\"")), "it begins with /"),
        (
            format!("{endpoints}{}", stage("url_from = \"item.url\"\nbackend = \"b\"")),
            "the backend has endpoints",
        ),
        (
            "[[backend]]\nname = \"b\"\nendpoints = [\"ftp://a\"]\n".to_owned(),
            "begins with neither http:// nor https://",
        ),
        (
            "[[backend]]\nname = \"b\"\nendpoints = [\"https://u:p@a\"]\n".to_owned(),
            "has a user in front of its host",
        ),
        ("[[backend]]\nname = \"b\"\n[[backend]]\nname = \"b\"\n".to_owned(), "there are two backends \"b\""),
        ("[budget]\nfetches = \"many\"\n".to_owned(), "fetches takes an integer from 0"),
        ("[stand_in]\nhosts = 99\n".to_owned(), "hosts is 99, and must be from 1 to 64"),
    ] {
        let error = parse(&text, &[], &[]).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(error.contains(expected), "{text}\n{error}");
    }
    // A secret never stands in a message.
    let secret = stage("url = \"https://a/\"\nheaders = { authorization = \"Bearer ${env:TOKEN}\\n\" }");
    let error = parse(&secret, &[("TOKEN", "hush")], &[]).err().unwrap();
    assert!(!error.contains("hush"), "{error}");
}
