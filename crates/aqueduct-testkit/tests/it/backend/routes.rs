use std::io::Read;
use std::time::Duration;

use aqueduct_testkit::backend::{Page, Script, score, summary};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::client::{Client, balances, manual, started, until};

#[tokio::test]
async fn an_item_is_its_id_and_a_score_made_from_it() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    let first = client.get("/item/a%20b/c").await.json();
    assert_eq!(first["id"], "a b/c");
    assert!((0.0..=100.0).contains(&first["score"].as_f64().expect("a number")));
    assert_eq!(client.get("/item/a%20b/c").await.json(), first);
    assert_ne!(client.get("/item/d").await.json()["score"], first["score"]);
    assert_eq!(first["score"], json!(score("a b/c")));
    // Computed outside, and pinned, so that what a test computes today is what the backend says tomorrow.
    assert_eq!(client.get("/item/a-1").await.json()["score"], 32.31);
}

#[tokio::test]
async fn a_page_is_shown_as_it_was_given() {
    let pages = [("a b.html".to_owned(), Page::new("<p>Hello"))];
    let backend = started(Script::builder().pages(pages)).await;
    let mut client = Client::to(&backend).await;
    let got = client.get("/pages/a%20b.html").await;
    assert_eq!((got.field("content-type"), &got.body[..]), ("text/html; charset=utf-8", &b"<p>Hello"[..]));
    assert_eq!(client.get("/pages/none").await.status, 404);
}

#[tokio::test]
async fn a_list_gives_every_record_once_by_offset_by_cursor_and_by_link() {
    let backend = started(Script::builder().records(25)).await;
    let mut client = Client::to(&backend).await;
    let numbers = |records: &Value| -> Vec<u64> {
        records.as_array().unwrap().iter().map(|record| record["number"].as_u64().unwrap()).collect()
    };
    let all: Vec<u64> = (0..25).collect();

    let mut seen = Vec::new();
    for offset in [0, 10, 20, 30] {
        let page = client.get(&format!("/list?offset={offset}&limit=10")).await.json();
        assert_eq!(
            (&page["offset"], &page["limit"], &page["total"]),
            (&json!(offset), &json!(10), &json!(25))
        );
        seen.extend(numbers(&page["records"]));
    }
    assert_eq!(seen, all);

    let (mut seen, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(at) = cursor {
        let page = client.get(&format!("/list?cursor={at}&limit=10")).await.json();
        seen.extend(numbers(&page["records"]));
        cursor = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, all);

    let (mut seen, mut next) = (Vec::new(), Some("/list/linked?limit=10".to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).await;
        seen.extend(numbers(&page.json()));
        let link = page.field("link").split(", ").find(|link| link.ends_with("; rel=\"next\""));
        next = link.map(|link| {
            let url = link.trim_start_matches('<').split_once('>').expect("an address in <>").0;
            url.strip_prefix(backend.url(0)).expect("it leads to this backend").to_owned()
        });
    }
    assert_eq!(seen, all);
    for wrong in ["/list?cursor=12", "/list?cursor=after-26", "/list?limit=0", "/list?offset=-1"] {
        assert_eq!(client.get(wrong).await.status, 400, "{wrong}");
    }
    let most = client.get("/list?limit=5000").await.json();
    assert_eq!(most["limit"], 1_000);
}

const TEXT: &str =
    "First it rains all day. Then the sun shines again! Does it snow in winter? It does not snow here.";
const SUMMARY: &str = "First it rains all day. Then the sun shines again! Does it snow in winter?";

#[tokio::test]
async fn a_chat_completion_has_the_first_sentences_and_its_tokens() {
    let (clock, _hand) = manual();
    let backend = started(Script::builder().clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let request = json!({ "model": "m-1", "messages": [
        { "role": "system", "content": "Sum it up." },
        { "role": "user", "content": [{ "type": "text", "text": TEXT }] },
    ] });
    let said = client.post("/v1/chat/completions", &request).await;
    assert_eq!(said["object"], "chat.completion");
    assert_eq!((&said["model"], &said["created"]), (&json!("m-1"), &json!(1_795_255_200)));
    let choice = &said["choices"][0];
    assert_eq!(summary(TEXT), SUMMARY);
    assert_eq!(choice["message"], json!({ "role": "assistant", "content": SUMMARY, "refusal": null }));
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(said["usage"], json!({ "prompt_tokens": 28, "completion_tokens": 19, "total_tokens": 47 }));
    assert_eq!(client.post("/v1/chat/completions", &request).await, said, "the same again");

    let request = json!({ "model": "m", "max_tokens": 2, "messages": [
        { "role": "user", "content": format!("Sum this up in a sentence:\n\n{TEXT}") },
    ] });
    let choice = &client.post("/v1/chat/completions", &request).await["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("First it"), &json!("length"))
    );
    for wrong in [r#"{"messages":[]}"#, r#"{"model":"m","messages":[]}"#, "{"] {
        let got = client.call(("POST", "/v1/chat/completions", &[], wrong.into())).await;
        assert_eq!(got.status, 400, "{wrong}");
        assert!(got.json()["error"]["message"].is_string());
    }
    assert_eq!(client.get("/v1/chat/completions").await.field("allow"), "POST");
}

#[tokio::test]
async fn a_model_reads_a_page_itself_or_says_that_it_could_not() {
    let page = format!("<html><head><title>T</title></head><body><p>{TEXT}</p></body></html>");
    let pages =
        [("open".to_owned(), Page::new(page.clone())), ("shut".to_owned(), Page::new(page).unreadable())];
    let backend = started(Script::builder().pages(pages)).await;
    let mut client = Client::to(&backend).await;
    let path = "/v1beta/models/g-1:generateContent";
    let asking = |name: &str| {
        let text = format!("Sum up {}/pages/{name}.", backend.url(0));
        json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }], "tools": [{ "url_context": {} }] })
    };
    let status = |name: &str, status: &str| {
        let url = format!("{}/pages/{name}", backend.url(0));
        json!({ "urlMetadata": [{ "retrievedUrl": url, "urlRetrievalStatus": status }] })
    };

    let read = client.post(path, &asking("open")).await;
    let candidate = &read["candidates"][0];
    assert_eq!(candidate["content"], json!({ "role": "model", "parts": [{ "text": SUMMARY }] }));
    assert_eq!(candidate["finishReason"], "STOP");
    assert_eq!(candidate["urlContextMetadata"], status("open", "URL_RETRIEVAL_STATUS_SUCCESS"));
    let usage = &read["usageMetadata"];
    let count = |name: &str| usage[name].as_u64().expect("a number");
    assert_eq!(
        count("totalTokenCount"),
        count("promptTokenCount") + count("toolUsePromptTokenCount") + count("candidatesTokenCount")
    );
    assert_eq!((read["modelVersion"].as_str(), count("candidatesTokenCount")), (Some("g-1"), 19));

    for name in ["shut", "none"] {
        let unread = client.post(path, &asking(name)).await;
        let candidate = &unread["candidates"][0];
        assert_eq!(candidate["content"], json!({ "role": "model" }), "{name} has no content");
        assert_eq!(candidate["urlContextMetadata"], status(name, "URL_RETRIEVAL_STATUS_ERROR"));
    }
    assert_eq!(client.get("/pages/shut").await.status, 200, "who fetches it gets it");

    let given = json!({ "contents": [{ "parts": [{ "text": format!("Sum this up:\n\n{TEXT}") }] }] });
    let said = client.post(path, &given).await;
    assert_eq!(said["candidates"][0]["content"]["parts"][0]["text"], SUMMARY);
    assert!(said["candidates"][0].get("urlContextMetadata").is_none());
}

#[tokio::test]
async fn a_sink_takes_an_array_or_lines_and_all_of_them_or_none() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for (body, accepted) in [("[]", 0), (" [1, {\"a\":2}]", 2), ("{\"a\":1}\n\n{\"a\":2}\r\n3", 3), ("", 0)] {
        let got = client.call(("POST", "/sink", &[], body.into())).await;
        assert_eq!(got.json(), json!({ "accepted": accepted }), "{body}");
    }
    let got = client.call(("POST", "/sink", &[], b"{}\nnot JSON\n".to_vec())).await;
    assert_eq!(got.status, 400);
    assert!(got.json()["error"]["message"].as_str().expect("it says why").starts_with("line 2 is not JSON"));
    assert_eq!(client.call(("POST", "/sink", &[], b"[1,".to_vec())).await.status, 400);
    assert_eq!(backend.account().total.records, 5);
}

#[tokio::test]
async fn a_status_is_what_was_asked_for() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for status in [200, 201, 204, 304, 404, 418, 429, 500, 599] {
        assert_eq!(client.get(&format!("/status/{status}")).await.status, status);
    }
    for wrong in ["/status/100", "/status/600", "/status/x", "/nothing"] {
        let status = client.get(wrong).await.status;
        assert_eq!(status, if wrong == "/nothing" { 404 } else { 400 }, "{wrong}");
    }
    let account = backend.account();
    assert_eq!((account.total.status(404), account.total.ok, account.total.over_quota), (2, 3, 0));
    balances(&account);
}

#[tokio::test]
async fn a_slow_route_waits_on_the_clock() {
    let (clock, hand) = manual();
    let backend = started(Script::builder().clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let call = tokio::spawn(async move { client.get("/slow/1500").await.json() });
    until(|| hand.waiting() == 1).await;
    assert_eq!(hand.advance_to_next(), Some(Duration::from_millis(1_500)));
    assert_eq!(call.await.expect("it ends"), json!({ "delay_ms": 1_500 }));
}

#[tokio::test]
async fn a_big_answer_has_its_length_and_one_that_is_not_taken_was_given_up() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for bytes in [0, 1, 65_536, 1_000_000] {
        let got = client.get(&format!("/big/{bytes}")).await;
        assert_eq!((got.body.len(), got.field("content-length")), (bytes, &*bytes.to_string()));
        assert!(got.body.iter().all(|byte| *byte == b'a'));
    }
    let head = client.call(("HEAD", "/big/1000", &[], Vec::new())).await;
    assert_eq!((head.body.len(), head.field("content-length")), (0, "1000"));

    let stream = TcpStream::connect(backend.addresses()[0]).await.expect("it listens");
    stream.writable().await.expect("it is open");
    stream.try_write(b"GET /big/1073741824 HTTP/1.1\r\nhost: a\r\n\r\n").expect("it has room");
    until(|| backend.account().total.in_flight == 1).await;
    drop(stream);
    until(|| backend.account().total.in_flight == 0).await;
    let account = backend.account();
    assert_eq!((account.total.ok, account.total.aborted), (5, 1));
    balances(&account);
}

#[tokio::test]
async fn a_bomb_is_one_sound_gzip_member_of_a_thousandth_of_its_size() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    let got = client.get("/bomb?bytes=5000000").await;
    assert_eq!(got.field("content-encoding"), "gzip");
    assert!(got.body.len() < 5_500, "{}", got.body.len());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&got.body[..])
        .read_to_end(&mut plain)
        .expect("length and checksum are right");
    assert_eq!(plain.len(), 5 << 20, "whole pieces of a mebibyte");
    assert!(plain.iter().all(|byte| *byte == 0));
    let head = client.call(("HEAD", "/bomb", &[], Vec::new())).await;
    let length: u64 = head.field("content-length").parse().expect("a length");
    assert!(length < 1_100_000, "a gibibyte in {length} bytes");
}

#[tokio::test]
async fn redirects_lead_on_in_circles_or_elsewhere() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for (path, location) in [
        ("/redirect/2", "/redirect/1"),
        ("/redirect/1", "/redirect/0"),
        ("/redirect/loop", "/redirect/loop"),
        ("/redirect/to?url=http%3A%2F%2F10.0.0.1%2Fx%3Fa%3D1", "http://10.0.0.1/x?a=1"),
    ] {
        let got = client.get(path).await;
        assert_eq!((got.status, got.field("location")), (302, location));
    }
    assert_eq!(client.get("/redirect/0").await.status, 200);
    assert_eq!(client.get("/redirect/to").await.status, 400);
    assert_eq!(
        client.get("/redirect/to?url=a%0d%0ab").await.field("location"),
        "",
        "no field has a line end"
    );
}

#[tokio::test]
async fn the_account_is_shown_and_looking_at_it_is_no_call() {
    let backend = started(Script::builder().hosts(2).errors(1.0).hangs(0.5)).await;
    let mut client = Client::to(&backend).await;
    let index = client.get("/").await;
    assert!(String::from_utf8_lossy(&index.body).contains("/v1/chat/completions"));
    let shown = client.get("/account").await.json();
    assert_eq!((&shown["total"]["calls"], shown["hosts"].as_array().map(Vec::len)), (&json!(0), Some(2)));
    assert_eq!(shown["keys"]["repeated"], 0);
    assert_eq!(shown, serde_json::to_value(backend.account()).expect("it is JSON"));
}
