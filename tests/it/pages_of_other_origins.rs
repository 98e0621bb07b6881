//! Pages of other origins may call the API where the operator says so, and nowhere else; a body that is too large is answered so.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::{Api, Backend, World};
use hookyard_node::config::{ApiConfig, Config};
use hookyard_node::roles::Roles;
use reqwest::{Client, Method, Response, StatusCode};

const PORTAL: &str = "https://portal.example";

/// What a browser asks before a page of another origin sends a request with a token.
async fn ask_first(address: SocketAddr, origin: &str) -> Result<Response> {
    let asked =
        Client::builder().no_proxy().build()?.request(Method::OPTIONS, format!("http://{address}/api/v1/app/default/endpoint"));
    let asked = asked.header("origin", origin).header("access-control-request-method", "POST");
    Ok(asked.header("access-control-request-headers", "authorization,content-type,svix-req-id").send().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_origins_that_are_named_may_call() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let closed = world.start().await?;
    let allowed = ask_first(closed.api.context("an API")?, PORTAL).await?;
    ensure!(!allowed.headers().contains_key("access-control-allow-origin"), "off unless configured: {:?}", allowed.headers());
    closed.close().await;

    let api = ApiConfig { cors_origins: vec![PORTAL.to_owned(), "http://127.0.0.1:5173".to_owned()], ..ApiConfig::default() };
    let running = world.start_unready(Roles::ALL, Config { api, ..world.config() }).await?;
    let address = running.api.context("an API")?;
    for origin in [PORTAL, "http://127.0.0.1:5173"] {
        let allowed = ask_first(address, origin).await?;
        let said = |name: &str| allowed.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        ensure!(allowed.status().is_success() && said("access-control-allow-origin") == origin, "{:?}", allowed.headers());
        ensure!(said("access-control-allow-methods") == "POST" && said("access-control-allow-headers").contains("svix-req-id"));
        ensure!(said("access-control-allow-credentials").is_empty(), "cookies are the console's alone");
    }
    for origin in ["https://portal.example.evil", "https://portal.example:8443", "http://portal.example", "null"] {
        let refused = ask_first(address, origin).await?;
        ensure!(!refused.headers().contains_key("access-control-allow-origin"), "{origin}: {:?}", refused.headers());
    }
    // Answers that are errors can be read too, and their ids.
    let url = format!("http://{address}/api/v1/app/default/endpoint");
    let refused = Client::builder().no_proxy().build()?.get(url).header("origin", PORTAL).bearer_auth("nonsense").send().await?;
    ensure!(refused.status() == StatusCode::UNAUTHORIZED && refused.headers()["access-control-allow-origin"] == PORTAL);
    ensure!(refused.headers()["access-control-expose-headers"].to_str()?.contains("hookyard-request-id"));
    running.drain().await;
    Ok(())
}

/// Sends all of a body before it reads anything, as many clients do.
fn send_all(address: SocketAddr, token: &str, path: &str, length: usize, is_chunked: bool) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let framing = if is_chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {length}") };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..length / piece.len() {
        if is_chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        }
        stream.write_all(&piece)?;
        if is_chunked {
            stream.write_all(b"\r\n")?;
        }
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_too_much_is_told_so_however_it_reads() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let (address, token) = (running.api.context("an API")?, api.place().1.to_owned());
    for is_chunked in [false, true] {
        for path in ["/api/v1/app/default/msg", "/api/v1/app/default/endpoint", "/api/v1/app/default/msg/batch"] {
            let (path, token) = (path.to_owned(), token.clone());
            let length = if path.ends_with("batch") { 48 * 1024 * 1024 } else { 8 * 1024 * 1024 };
            let asking = tokio::task::spawn_blocking(move || send_all(address, &token, &path, length, is_chunked));
            let answer = asking.await?.with_context(|| format!("chunked: {is_chunked}"))?;
            ensure!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
        }
    }
    running.drain().await;
    Ok(())
}
