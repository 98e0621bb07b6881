//! Errors of the HTTP API as they go out.

use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use futures_util::{FutureExt as _, TryStreamExt as _};
use hookyard_core::{Fault, FaultKind, Refusal, RefusalReason};
use hookyard_wire::problem::Problem;
use http::StatusCode;
use serde_json::{Value, json};

/// Status, `retry-after` and body; the content type is always JSON.
fn sent(problem: Problem) -> (u16, Option<String>, Value) {
    let response = problem.into_response();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let (status, retry_after) = (response.status().as_u16(), header("retry-after"));
    let chunks: Vec<Bytes> =
        response.into_body().into_data_stream().try_collect().now_or_never().expect("at hand").expect("whole");
    (status, retry_after, serde_json::from_slice(&chunks.concat()).expect("JSON"))
}

fn plain(code: &str, detail: &str) -> Value {
    json!({ "code": code, "detail": detail })
}

fn invalid(place: &str, field: &str, msg: &str) -> Value {
    json!({ "detail": [{ "loc": [place, field], "msg": msg, "type": "value_error" }] })
}

#[test]
fn an_error_is_a_code_and_a_detail() {
    assert_eq!(sent(Problem::not_found("no such endpoint")), (404, None, plain("not_found", "no such endpoint")));
    assert_eq!(sent(Problem::unauthenticated("no token")), (401, None, plain("authentication_failed", "no token")));
    assert_eq!(sent(Problem::conflict("known")), (409, None, plain("conflict", "known")));
    let (status, _, body) = sent(Problem::forbidden());
    assert_eq!((status, &body["code"]), (403, &json!("permission_denied")));
    let quoted = Problem::new(StatusCode::IM_A_TEAPOT, "teapot", "\"short\"\nand stout");
    assert_eq!(sent(quoted), (418, None, plain("teapot", "\"short\"\nand stout")));
}

#[test]
fn a_mistake_says_where_it_is() {
    assert_eq!(sent(Problem::invalid("url", "not a URL")), (422, None, invalid("body", "url", "not a URL")));
    assert_eq!(sent(Problem::invalid_query("limit", "too large")), (422, None, invalid("query", "limit", "too large")));
}

#[test]
fn every_fault_hides_its_cause_and_an_absent_backend_asks_to_come_back() {
    let kinds = [
        (FaultKind::Unavailable, 503, "unavailable"),
        (FaultKind::WrongDataset, 503, "unavailable"),
        (FaultKind::Contended, 409, "conflict"),
        (FaultKind::Corrupt, 500, "internal"),
        (FaultKind::Refused, 500, "internal"),
    ];
    for (kind, status, code) in kinds {
        let fault = Fault::caused(kind, "read hunter2", "redis://hunter2@10.0.0.1");
        let (answered, retry_after, body) = sent(Problem::from(&fault));
        assert_eq!((answered, &body["code"]), (status, &json!(code)));
        assert_eq!(retry_after.is_some(), status == 503);
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
}

#[test]
fn every_refusal_has_its_answer() {
    for reason in RefusalReason::ALL {
        let answer = sent(Problem::from(&Refusal::new(reason, "why")));
        let expected = match reason {
            RefusalReason::Unreadable => (400, None, plain("unreadable", "why")),
            RefusalReason::InvalidType | RefusalReason::ArchivedType => (422, None, invalid("body", "eventType", "why")),
            RefusalReason::InvalidChannel => (422, None, invalid("body", "channels", "why")),
            RefusalReason::InvalidId | RefusalReason::MissingId => (422, None, invalid("body", "eventId", "why")),
            RefusalReason::SchemaViolation => (422, None, invalid("body", "payload", "why")),
            RefusalReason::InvalidTime => (422, None, invalid("body", "timestamp", "why")),
            RefusalReason::UnknownApp => (404, None, plain("not_found", "there is no such application")),
            RefusalReason::TooLarge => (413, None, plain("too_large", "why")),
            RefusalReason::IdConflict => (409, None, plain("conflict", "why")),
            RefusalReason::CrashLoop => (500, None, plain("internal", "why")),
        };
        assert_eq!(answer, expected, "{}", reason.as_str());
    }
}
