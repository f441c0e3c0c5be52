//! The client against a server of its own, through a proxy that does what networks do: each fault is a real socket.

#![cfg(test)]

mod body;
mod config;
mod faults;
mod guards;
mod pool;
mod redirects;
mod released;
mod server;
mod service;
mod tls;

use std::time::Duration;

use aqueduct_http::{Builder, Client, Config, HttpError, Method, Request, Response};

/// A configuration for servers on this machine, with a limit that no test comes to which does not want to.
fn local() -> Builder {
    Config::builder().allow_private(true).timeout(Duration::from_secs(60))
}

fn client(config: Builder) -> Client {
    Client::new(config.build().expect("it is right")).expect("there is TLS")
}

async fn get(client: &Client, url: impl Into<String>) -> Result<Response, HttpError> {
    client.call(Request::new(Method::GET, url)).await
}

/// Runs an ignored test in a process where there are no others: what it counts, they would change.
fn alone(name: &str) {
    let this = std::env::current_exe().expect("it is running");
    let output = std::process::Command::new(this).args(["--exact", name, "--ignored"]).output();
    let output = output.expect("it can run again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Lets everything else go on until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
