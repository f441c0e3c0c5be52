use std::collections::BTreeSet;

use std::path::{Path, PathBuf};

use aqueduct_orchestrator::schema::json_schema;
use aqueduct_orchestrator::{Inputs, PipelineSpec};
use serde_json::Value;

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    assert!(jsonschema::draft4::meta::is_valid(&schema), "Taplo reads draft 4");
    jsonschema::validator_for(&schema).unwrap()
}

/// What the schema says of a file.
fn errors(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    let file: Value = toml::from_str(text).unwrap();
    validator.iter_errors(&file).map(|error| error.to_string()).collect()
}

fn reads(text: &str) -> bool {
    let environment = |name: &str| (name == "X").then(|| "x".to_owned());
    let inputs = Inputs::new(&environment);
    PipelineSpec::parse("p.toml", Path::new("."), text.as_bytes(), &inputs).is_ok()
}

/// Every file below a folder whose name ends like this.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

#[test]
fn every_pipeline_of_the_examples_the_guides_and_the_tests_fits() {
    let validator = schema();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut pipelines, mut guides) = (Vec::new(), Vec::new());
    files(&root.join("examples"), "pipeline.toml", &mut pipelines);
    files(&root.join("docs/guides"), ".md", &mut guides);
    let mut texts: Vec<String> =
        pipelines.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for guide in &guides {
        let guide = std::fs::read_to_string(guide).unwrap();
        // Behind `toml` may stand the name of the file.
        let block = |rest: &str| rest.split_once('\n').unwrap().1.split("```").next().unwrap().to_owned();
        let blocks = guide.split("```toml").skip(1).map(block);
        // A guide also shows parts of files.
        texts.extend(blocks.filter(|block| reads(block)));
    }
    texts.push(crate::file::EVIDENCE.to_owned());
    assert!(texts.len() >= 4, "{} files", texts.len());
    for text in texts {
        assert!(reads(&text));
        assert_eq!(errors(&validator, &text), [""; 0], "{text}");
    }
}

/// A file that is right, with every type of stage and sink.
const RIGHT: &str = r#"
name = "p"
guarantee = "at-least-once"
data_dir = "${env:X}"
[source]
type = "jsonl"
path = "a"
on_error = "skip"
line_bytes_max = 4096
[[stage]]
name = "map"
type = "map"
keep = ["a"]
set = { b = "1" }
on_error = "dead-letter"
retry = { attempts = 2, delay_ms = 5, max_elapsed_seconds = 1.5 }
[[stage]]
name = "filter"
type = "filter"
when = "item.a"
[[stage]]
name = "alert"
type = "alert"
when = "item.a < 1"
to = "alerts"
threshold = 3
[[stage]]
name = "split"
type = "split"
field = "items"
as = "value"
keep = ["a"]
items_max = 5
[[stage]]
name = "sample"
type = "sample"
ratio = 0.5
key = "item.a"
[[stage]]
name = "assert"
type = "assert"
when = "item.a"
message = "m"
[[stage]]
name = "exec"
type = "exec"
command = ["a", "", ""]
env = { A = "" }
timeout_seconds = 1
[[stage]]
name = "cached"
type = "cached"
key = "item.a"
tags = "[item.a]"
[stage.of]
type = "http"
url = "https://a.example/{item.a}"
backend = "b"
[[backend]]
name = "b"
[backend.cache]
stale_seconds = 5
[cache]
disk = false
[[sink]]
name = "table"
type = "sqlite"
path = "p"
table = "t"
key = "a"
columns = ["a"]
[[sink]]
name = "file"
type = "jsonl"
path = "f"
[[sink]]
name = "alerts"
type = "stdout"
[run]
workers = 3
max_elapsed_seconds = 1
"#;

#[test]
fn a_file_with_every_type_fits_and_each_wrong_change_does_not() {
    let validator = schema();
    assert!(reads(RIGHT));
    assert_eq!(errors(&validator, RIGHT), [""; 0]);
    let single = "name = \"p\"\nsource = { type = \"jsonl\", path = \"a\" }\nsink = { type = \"stdout\" }";
    assert!(reads(single) && validator.is_valid(&toml::from_str::<Value>(single).unwrap()));
    for (right, wrong) in [
        ("name = \"p\"", ""),
        ("name = \"p\"", "name = \".p\""),
        ("name = \"p\"", "name = \"p\"\nextra = 1"),
        ("guarantee = \"at-least-once\"", "guarantee = \"never\""),
        ("line_bytes_max = 4096", "line_bytes_max = 0"),
        ("line_bytes_max = 4096", "line_bytes_max = \"4096\""),
        ("type = \"filter\"", "type = \"filtr\""),
        ("type = \"filter\"", "type = \"map\""),
        ("when = \"item.a\"\n[[stage]]\nname = \"alert\"", "[[stage]]\nname = \"alert\""),
        ("when = \"item.a\"\n[[stage]]\nname = \"alert\"", "when = 3\n[[stage]]\nname = \"alert\""),
        ("set = { b = \"1\" }", "set = { b = 1 }"),
        ("keep = [\"a\"]\nset", "keep = []\nset"),
        ("keep = [\"a\"]\nset", "keep = [\"a\", \"a\"]\nset"),
        ("delay_ms = 5", "delay = 5"),
        ("attempts = 2", "attempts = 101"),
        ("ratio = 0.5", "ratio = 1.5"),
        ("command = [\"a\", \"\", \"\"]", "command = \"a\""),
        ("env = { A = \"\" }", "env = { A = 1 }"),
        ("tags = \"[item.a]\"", "tag = \"a\""),
        ("url = \"https://a.example/{item.a}\"", "url = \"https://a.example/{item.a}\"\nkeep = [\"a\"]"),
        ("stale_seconds = 5", "disk = true"),
        ("stale_seconds = 5", "stale_seconds = -1"),
        ("disk = false", "disk = 0"),
        ("disk = false", "ttl_seconds = 5"),
        ("table = \"t\"", ""),
        ("path = \"f\"", "path = \"\""),
        ("name = \"alerts\"\ntype = \"stdout\"", "name = \"alerts\"\ntype = \"stdout\"\npath = \"x\""),
        ("workers = 3", "workers = 0"),
        ("max_elapsed_seconds = 1\n", "max_elapsed = 1\n"),
    ] {
        assert!(RIGHT.contains(right), "{right}");
        let text = RIGHT.replacen(right, wrong, 1);
        assert!(!reads(&text), "{wrong}: the reader takes it");
        assert!(!errors(&validator, &text).is_empty(), "{wrong}: the schema takes it");
    }
}

#[test]
fn an_editor_finds_descriptions_defaults_and_words() {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let source = &schema["properties"]["source"]["oneOf"][0];
    assert_eq!(source["properties"]["on_error"]["default"], "dead-letter");
    assert_eq!(source["properties"]["on_error"]["enum"][0], "stop");
    assert_eq!(source["properties"]["line_bytes_max"]["maximum"], 1 << 30);
    assert_eq!(source["additionalProperties"], false);
    let stages = schema["properties"]["stage"]["items"]["oneOf"].as_array().unwrap();
    let titles: Vec<&str> = stages.iter().map(|form| form["title"].as_str().unwrap()).collect();
    assert!(titles.starts_with(&["map", "filter", "alert"]), "{titles:?}");
    let mut nodes = vec![&schema["properties"]];
    while let Some(node) = nodes.pop() {
        for property in node.as_object().unwrap().values() {
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{property}");
        }
        let forms = stages.iter().chain([source]);
        nodes.extend(
            forms.map(|form| &form["properties"]).filter(|_| std::ptr::eq(node, &schema["properties"])),
        );
    }
    assert!(!json_schema().contains("$ref"), "Taplo ignores what stands beside one");
}

/// Two lists hold them: one that is forgotten in the other would be refused there without a reason.
#[test]
fn a_stage_within_has_the_keys_of_that_stage_but_for_what_is_kept_already() {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let keys = |form: &Value| -> BTreeSet<String> {
        form["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let forms = schema["properties"]["stage"]["items"]["oneOf"].as_array().unwrap();
    let form = |title: &str| forms.iter().find(|form| form["title"] == title).unwrap();
    let common = &keys(form("map")) & &keys(form("budget"));
    let within = form("cached")["properties"]["of"]["oneOf"].as_array().unwrap();
    assert_eq!(within.len(), 3);
    for inner in within {
        let title = inner["title"].as_str().unwrap();
        let kept_already = ["keep", "journal"].map(str::to_owned).into();
        let wanted = &(&keys(form(title)) - &common) - &kept_already;
        let found = &keys(inner) - &["type".to_owned()].into();
        assert_eq!(found, wanted, "{title}");
    }
}
