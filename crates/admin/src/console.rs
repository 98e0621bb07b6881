//! The console's files, as they are in git: nothing builds them, and nothing is loaded from anywhere else. They hold nothing secret;
//! what they show comes by the API.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ring::digest::{SHA256, digest};
use rust_embed::RustEmbed;

/// The page that every address of the console begins with.
const PAGE: &str = "index.html";
/// Nothing but these files, and what they ask of this origin. Scripts and styles in the page itself do not run, but for the one that
/// says where modules are, which is named by its hash.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; script-src 'self'";

#[derive(RustEmbed)]
#[folder = "console/"]
struct Files;

/// A file, ready to be sent.
struct File {
    kind: &'static str,
    plain: Bytes,
    packed: Bytes,
    tag: HeaderValue,
}

static FILES: LazyLock<HashMap<String, Arc<File>>> =
    LazyLock::new(|| Files::iter().filter_map(|name| Some((name.to_string(), Arc::new(File::read(&name)?)))).collect());
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(page_policy);

/// The console, at every path that is nobody else's.
pub fn console() -> Router {
    Router::new()
        .route("/", get(page))
        .route("/console", get(page))
        .route("/console/", get(page))
        .route("/console/{*path}", get(page))
        .route("/assets/{*path}", get(async |headers: HeaderMap, Path(path): Path<String>| file(&path, &headers)))
}

async fn page(headers: HeaderMap) -> Response {
    let mut response = file(PAGE, &headers);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY.clone());
    response
}

fn file(name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = FILES.get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let headers: [(HeaderName, HeaderValue); 6] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        // A new version of the program has new files under the same names.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, file.tag.clone()),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    if asked.get(header::IF_NONE_MATCH) == Some(&file.tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let accepted = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip")) {
        let packed = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        return (headers, packed, file.packed.clone()).into_response();
    }
    (headers, file.plain.clone()).into_response()
}

impl File {
    fn read(name: &str) -> Option<Self> {
        let plain = Bytes::from(Files::get(name)?.data.into_owned());
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&plain).ok()?;
        let tag = format!("\"{}\"", STANDARD.encode(&digest(&SHA256, &plain).as_ref()[..12]));
        Some(Self { kind: kind(name), packed: packer.finish().ok()?.into(), tag: HeaderValue::from_str(&tag).ok()?, plain })
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// The policy with the hash of the page's import map.
fn page_policy() -> HeaderValue {
    let page = FILES.get(PAGE).map(|file| String::from_utf8_lossy(&file.plain).into_owned()).unwrap_or_default();
    let map = page.split_once("<script type=\"importmap\">").and_then(|(_, rest)| Some(rest.split_once("</script>")?.0));
    let hash = STANDARD.encode(digest(&SHA256, map.unwrap_or_default().as_bytes()).as_ref());
    HeaderValue::from_str(&format!("{POLICY} 'sha256-{hash}'")).unwrap_or(HeaderValue::from_static(POLICY))
}
