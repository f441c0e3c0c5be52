use crate::support::{Call, Folder, TO_FILE};

/// The value and origin of a setting as `check -v` shows it, with these variables, file lines and flags.
fn setting(name: &str, variables: &[(&str, &str)], run: &str, flags: &[&str]) -> (String, String) {
    let folder = Folder::new(&format!("{TO_FILE}\n{run}"), "");
    let mut command = folder.command(&[&["check", "-v", "-o", "json"], flags].concat());
    let call = Call::of(command.envs(variables.iter().copied()).output().unwrap());
    assert_eq!(call.code, 0, "{call:?}");
    let json = call.json();
    let found = json["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap();
    (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
}

/// Default, file, environment and flag of one setting, each stronger than the one before.
fn precedence(name: &str, variable: &str, default: &str, flag: Option<&str>) {
    let origin = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(setting(name, &[], "", &[]), origin(default, "default"));
    let environment = format!("environment {variable}");
    assert_eq!(setting(name, &[(variable, "7")], "", &[]), origin("7", &environment));
    if let Some(key) = flag {
        let file = format!("[run]\n{key} = 5");
        assert_eq!(setting(name, &[], &file, &[]), origin("5", "file"));
        assert_eq!(setting(name, &[(variable, "7")], &file, &[]), origin("7", &environment));
        let set = format!("run.{key}=9");
        let flags = ["--set", set.as_str()];
        assert_eq!(setting(name, &[(variable, "7")], &file, &flags), origin("9", &format!("--set {set}")));
    }
}

#[test]
fn aqueduct_max_workers_is_twice_the_cores_by_default() {
    let cores = std::thread::available_parallelism().unwrap().get();
    precedence("run.workers", "AQUEDUCT_MAX_WORKERS", &(2 * cores).to_string(), Some("workers"));
}

#[test]
fn aqueduct_batch_size_is_100_by_default() {
    precedence("run.batch_size", "AQUEDUCT_BATCH_SIZE", "100", Some("batch_size"));
}

#[test]
fn batch_size_sets_batches_and_writes_and_gives_way_to_the_more_specific_name() {
    precedence("run.batch_size", "BATCH_SIZE", "100", Some("batch_size"));
    assert_eq!(setting("BATCH_SIZE (writes)", &[("BATCH_SIZE", "7")], "", &[]).0, "7");
    let both = [("BATCH_SIZE", "7"), ("AQUEDUCT_BATCH_SIZE", "8")];
    assert_eq!(setting("run.batch_size", &both, "", &[]).0, "8");
}

#[test]
fn checkpoint_interval_is_10_batches_by_default() {
    precedence("run.checkpoint_interval", "CHECKPOINT_INTERVAL", "10", Some("checkpoint_interval"));
}

#[test]
fn memory_cache_size_is_1000_by_default() {
    precedence("MEMORY_CACHE_SIZE", "MEMORY_CACHE_SIZE", "1000", None);
}

#[test]
fn aqueduct_cache_nodes_is_3_by_default() {
    precedence("AQUEDUCT_CACHE_NODES", "AQUEDUCT_CACHE_NODES", "3", None);
}

#[test]
fn redis_url_and_otel_endpoint_are_unset_by_default() {
    for (name, value) in [("REDIS_URL", "redis://localhost:6379"), ("OTEL_ENDPOINT", "http://localhost:4317")]
    {
        assert_eq!(setting(name, &[], "", &[]).0, "unset");
        let (_, origin) = setting(name, &[(name, value)], "", &[]);
        assert_eq!(origin, format!("environment {name}"));
    }
}

#[test]
fn a_bad_value_names_the_variable_the_value_and_the_range() {
    for variable in [
        "AQUEDUCT_MAX_WORKERS",
        "AQUEDUCT_BATCH_SIZE",
        "BATCH_SIZE",
        "CHECKPOINT_INTERVAL",
        "MEMORY_CACHE_SIZE",
        "AQUEDUCT_CACHE_NODES",
    ] {
        for value in ["zero", "0", "-1", "99999999999999999999"] {
            let folder = Folder::new(TO_FILE, "");
            let call = Call::of(folder.command(&["check"]).env(variable, value).output().unwrap());
            call.fails(78, &[variable, value]);
        }
    }
}

#[test]
fn a_run_really_works_in_batches_of_the_size_that_is_set() {
    let folder = Folder::new(TO_FILE, crate::support::numbers(20));
    let mut command = folder.command(&["run", "-o", "json", "--set", "run.epoch_batches=1"]);
    let call = Call::of(command.env("AQUEDUCT_BATCH_SIZE", "5").output().unwrap());
    assert_eq!(call.json()["epochs"], 4, "{call:?}");
}
