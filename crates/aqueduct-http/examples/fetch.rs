//! A server that misbehaves in every way that a crawler meets, and what the client makes of it.
//!
//! `cargo run -p aqueduct-http --example fetch`. The server is its own, so it needs no network and ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_core::{Classified, Clock};
use aqueduct_http::{Client, Config, Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));

    let config = Config::builder()
        .response_bytes_max(64 << 10)
        .timeout(Duration::from_millis(200))
        .redirects_max(3)
        // The server is on this machine.
        .allow_private(true)
        .resolve("shop.example", [server.ip()])
        .build()?;
    let client = Client::new(config)?;
    for path in ["/price", "/busy", "/moved", "/round", "/endless", "/silent", "/page"] {
        fetch(&client, path, server).await;
    }

    // What comes from data is called with a client that does not reach into one's own network.
    let outside = Client::new(Config::builder().build()?)?;
    for url in ["http://169.254.169.254/latest/meta-data", "http://localhost/admin", "file:///etc/passwd"] {
        if let Err(error) = outside.call(Request::new(Method::GET, url)).await {
            println!("{:<9} {error}", error.class().as_str());
        }
    }
    let request = Request::new(Method::GET, "http://shop.example/").header("x-item", "7\r\nx-admin: yes");
    if let Err(error) = client.call(request).await {
        println!("{:<9} {error}", error.class().as_str());
    }
    Ok(())
}

async fn fetch(client: &Client, path: &str, server: SocketAddr) {
    let url = format!("http://shop.example:{}{path}", server.port());
    // Ports differ from run to run.
    let port = format!(":{}", server.port());
    match client.call(Request::new(Method::GET, url)).await {
        Err(error) => println!("{:<9} {}", error.class().as_str(), error.to_string().replace(&port, "")),
        Ok(response) => match response.json::<serde_json::Value>() {
            _ if !response.status().is_success() => {
                let wait = response.retry_after(Clock::system().wall()).unwrap_or_default();
                println!("{:<9} ask again in {wait:?}", response.status().as_u16());
            }
            Ok(value) => println!("{:<9} {value} from {}", 200, response.url().replace(&port, "")),
            Err(error) => println!("{:<9} {error}", error.class().as_str()),
        },
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    while let length @ 1.. = stream.read(&mut request).await? {
        let text = String::from_utf8_lossy(request.get(..length).unwrap_or_default()).into_owned();
        let said = match text.split(' ').nth(1).unwrap_or_default() {
            "/price" => {
                "200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"euro\":9.9}"
            }
            "/busy" => "429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n",
            "/moved" => "301 Moved\r\nlocation: /price\r\ncontent-length: 0\r\n\r\n",
            "/round" => "302 Found\r\nlocation: /round\r\ncontent-length: 0\r\n\r\n",
            "/endless" => "200 OK\r\ncontent-length: 1073741824\r\n\r\n",
            "/silent" => std::future::pending().await,
            _ => "200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
        };
        stream.write_all(format!("HTTP/1.1 {said}").as_bytes()).await?;
    }
    Ok(())
}
