use std::collections::HashMap;
use std::path::Path;

use aqueduct_orchestrator::{Inputs, Origin, Override, PipelineSpec, Settings};

/// Settings from a file's `[run]`, the environment and flags, on a machine of 3 cores.
fn settings(run: &str, variables: &[(&str, &str)], sets: &[&str]) -> Result<Settings, String> {
    let text = format!(
        "name = \"p\"\nsource = {{ type = \"jsonl\", path = \"a\" }}\nsink = {{ type = \"stdout\" }}\n[run]\n{run}\n"
    );
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let overrides: Vec<Override> = sets.iter().map(|set| Override::set(set)).collect();
    let inputs = Inputs::new(&environment).with_overrides(&overrides).with_cores(3);
    PipelineSpec::parse("p.toml", Path::new(""), text.as_bytes(), &inputs)
        .map(|spec| spec.settings)
        .map_err(|errors| errors.to_string())
}

/// One setting as number and origin.
fn one(
    read: impl Fn(&Settings) -> (u64, Origin),
    run: &str,
    variables: &[(&str, &str)],
    sets: &[&str],
) -> (u64, String) {
    let (value, origin) = read(&settings(run, variables, sets).expect("right settings"));
    (value, origin.to_string())
}

/// Default, file over default, environment over file and default, flag over environment, and a wrong value.
fn check(
    variable: &'static str,
    key: &str,
    default: u64,
    most: &str,
    read: impl Fn(&Settings) -> (u64, Origin) + Copy,
) {
    let (file, flag) = (format!("{key} = 11"), format!("run.{key}=13"));
    assert_eq!(one(read, "", &[], &[]), (default, "default".to_owned()));
    assert_eq!(one(read, &file, &[], &[]), (11, "file".to_owned()));
    assert_eq!(one(read, "", &[(variable, "12")], &[]), (12, format!("environment {variable}")));
    assert_eq!(one(read, &file, &[(variable, " 12 ")], &[]), (12, format!("environment {variable}")));
    assert_eq!(one(read, &file, &[(variable, "12")], &[&flag]), (13, format!("--set {flag}")));
    assert_eq!(one(read, &file, &[(variable, "")], &[]), (11, "file".to_owned()), "empty is unset");
    wrong_values(variable, most);
}

fn wrong_values(variable: &'static str, most: &str) {
    for wrong in ["0", "-1", "many", "1.5", "99999999999999999999"] {
        assert_eq!(
            settings("", &[(variable, wrong)], &[]),
            Err(format!("{variable}: the value is {wrong:?}, and must be an integer from 1 to {most}"))
        );
    }
}

#[test]
fn aqueduct_max_workers_covers_the_file_and_defaults_to_two_for_each_core() {
    check("AQUEDUCT_MAX_WORKERS", "workers", 6, "1024", |settings| {
        (settings.workers.value as u64, settings.workers.origin.clone())
    });
}

#[test]
fn aqueduct_batch_size_covers_the_file_and_defaults_to_100() {
    check("AQUEDUCT_BATCH_SIZE", "batch_size", 100, "1000000", |settings| {
        (settings.batch_size.value as u64, settings.batch_size.origin.clone())
    });
}

#[test]
fn batch_size_covers_the_file_and_sets_the_size_of_writes_too() {
    check("BATCH_SIZE", "batch_size", 100, "1000000", |settings| {
        (settings.batch_size.value as u64, settings.batch_size.origin.clone())
    });
    let write_size =
        |settings: &Settings| (settings.write_size.value as u64, settings.write_size.origin.clone());
    assert_eq!(one(write_size, "batch_size = 11", &[], &[]), (100, "default".to_owned()));
    assert_eq!(one(write_size, "", &[("BATCH_SIZE", "12")], &[]), (12, "environment BATCH_SIZE".to_owned()));
}

#[test]
fn the_more_specific_batch_size_wins() {
    let variables = [("AQUEDUCT_BATCH_SIZE", "200"), ("BATCH_SIZE", "300")];
    let settings = settings("batch_size = 11", &variables, &[]).expect("right settings");
    assert_eq!((settings.batch_size.value, settings.write_size.value), (200, 300));
}

#[test]
fn checkpoint_interval_covers_the_file_and_defaults_to_10() {
    check("CHECKPOINT_INTERVAL", "checkpoint_interval", 10, "1000000000", |settings| {
        (settings.checkpoint_interval.value, settings.checkpoint_interval.origin.clone())
    });
}

#[test]
fn memory_cache_size_is_1000_by_default() {
    let read = |settings: &Settings| {
        (settings.memory_cache_entries.value as u64, settings.memory_cache_entries.origin.clone())
    };
    assert_eq!(one(read, "", &[], &[]), (1_000, "default".to_owned()));
    assert_eq!(
        one(read, "", &[("MEMORY_CACHE_SIZE", "5")], &[]),
        (5, "environment MEMORY_CACHE_SIZE".to_owned())
    );
    wrong_values("MEMORY_CACHE_SIZE", "4294967296");
}

#[test]
fn aqueduct_cache_nodes_is_a_number_or_a_list_of_addresses() {
    let read = |variables: &[(&str, &str)]| {
        let nodes = settings("", variables, &[]).expect("right settings").cache_nodes;
        (nodes.value.to_string(), nodes.origin.to_string())
    };
    assert_eq!(read(&[]), ("3".to_owned(), "default".to_owned()));
    let origin = "environment AQUEDUCT_CACHE_NODES".to_owned();
    assert_eq!(read(&[("AQUEDUCT_CACHE_NODES", " 5 ")]), ("5".to_owned(), origin.clone()));
    let list = "redis://:hunter2@a:6379,redis://b:6379";
    assert_eq!(read(&[("AQUEDUCT_CACHE_NODES", list)]), ("${env:AQUEDUCT_CACHE_NODES}".to_owned(), origin));
    for wrong in ["0", "1025", "-1", "many", "1.5"] {
        assert_eq!(
            settings("", &[("AQUEDUCT_CACHE_NODES", wrong)], &[]),
            Err(format!(
                "AQUEDUCT_CACHE_NODES: the value is {wrong:?}, and must be an integer from 1 to 1024, or addresses \
                 redis://HOST:PORT"
            ))
        );
    }
}

#[test]
fn redis_url_is_kept_and_never_shown() {
    assert_eq!(settings("", &[], &[]).expect("right settings").redis_url, None);
    let settings_with = |url| settings("", &[("REDIS_URL", url)], &[]);
    let kept = settings_with("redis://user:hunter2@host:6379").expect("right settings");
    let url = kept.redis_url.as_ref().expect("the address");
    assert_eq!(url.value.expose(), "redis://user:hunter2@host:6379");
    assert_eq!(url.origin, Origin::Variable("REDIS_URL"));
    let shown = format!("{kept:?}{:?}", kept.lines());
    assert!(!shown.contains("hunter2") && shown.contains("${env:REDIS_URL}"), "{shown}");
    assert_eq!(
        settings_with("http://user:hunter2@host"),
        Err("REDIS_URL: the value must start with redis:// or rediss:// or unix://".to_owned())
    );
}

#[test]
fn otel_endpoint_is_kept_for_telemetry() {
    assert_eq!(settings("", &[], &[]).expect("right settings").otel_endpoint, None);
    let kept = settings("", &[("OTEL_ENDPOINT", "http://localhost:4317")], &[]).expect("right settings");
    assert_eq!(kept.otel_endpoint.expect("the address").value.expose(), "http://localhost:4317");
    assert_eq!(
        settings("", &[("OTEL_ENDPOINT", "localhost:4317")], &[]),
        Err("OTEL_ENDPOINT: the value must start with http:// or https://".to_owned())
    );
}

#[test]
fn a_wrong_variable_is_an_error_even_when_a_flag_covers_it() {
    assert!(settings("", &[("AQUEDUCT_MAX_WORKERS", "x")], &["run.workers=2"]).is_err());
}

#[test]
fn every_setting_is_listed_with_its_origin() {
    let kept =
        settings("workers = 2", &[("BATCH_SIZE", "7")], &["run.epoch_batches=3"]).expect("right settings");
    let lines: Vec<String> =
        kept.lines().iter().map(|line| format!("{} = {} ({})", line.name, line.value, line.origin)).collect();
    for expected in [
        "run.workers = 2 (file)",
        "run.batch_size = 7 (environment BATCH_SIZE)",
        "run.epoch_batches = 3 (--set run.epoch_batches=3)",
        "run.max_elapsed_seconds = 30 s (default)",
        "run.allowed_dead_letter_ratio = 0 (default)",
        "data_dir = .aqueduct/p (default)",
        "REDIS_URL = unset (default)",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
    }
}
