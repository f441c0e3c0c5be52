use aqueduct_http::{Method, Request};
use tower_service::Service;

use crate::server::{Reply, Server};
use crate::{client, local};

#[tokio::test]
async fn a_client_is_a_service() {
    let server = Server::saying(Reply::ok("here")).await;
    let mut service = client(local());
    std::future::poll_fn(|context| Service::<Request>::poll_ready(&mut service, context))
        .await
        .expect("always");
    let response = Service::call(&mut service, Request::new(Method::GET, server.url("/"))).await;
    assert_eq!(response.expect("it is there").body(), "here");
}
