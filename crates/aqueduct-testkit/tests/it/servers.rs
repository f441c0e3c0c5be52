use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use aqueduct_testkit::RedisServer;

fn ask(server: &RedisServer, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

#[test]
fn a_redis_is_ready_when_it_is_there_and_gone_when_it_is_killed() {
    let mut server = RedisServer::start().expect("it is installed, as the error says how");
    assert_eq!(ask(&server, "PING").expect("it listens"), "+PONG");
    assert_eq!(ask(&server, "SET a 1").expect("it listens"), "+OK");
    server.kill().expect("it was running");
    assert!(ask(&server, "PING").is_err());
    server.restart().expect("its port is free again");
    assert_eq!(ask(&server, "GET a").expect("it listens"), "$-1", "it keeps nothing");
}

#[test]
fn two_servers_do_not_meet() {
    let servers = [1, 2].map(|_| RedisServer::start().expect("it is installed"));
    assert_eq!(ask(&servers[0], "SET a 1").expect("it listens"), "+OK");
    assert_eq!(ask(&servers[1], "GET a").expect("it listens"), "$-1");
}

#[test]
fn a_server_that_cannot_start_tells_its_last_words() {
    let error = RedisServer::start_with(&["--maxmemory", "nonsense"]).expect_err("it cannot");
    assert!(error.to_string().contains("ended before it was ready"), "{error}");
}
