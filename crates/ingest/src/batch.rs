//! Several events in one request: each is judged as if they came one by one.

use std::collections::HashMap;

use futures_util::future::join_all;
use hookyard_core::Submission;
use hookyard_wire::problem::Problem;
use hookyard_wire::shown::MessageOut;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What became of each, in the order sent.
#[derive(Serialize, ToSchema)]
pub struct BatchOut {
    results: Vec<ResultOut>,
}

/// What became of one of them: the status it would have had alone, and its message or its error.
#[derive(Serialize, ToSchema)]
pub struct ResultOut {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    error: Option<Problem>,
}

/// Accepts what was read of each, or tells why not. Those of one id follow one another; the others do not wait.
pub async fn accept_all<F: Future<Output = Result<MessageOut, Problem>>>(
    read: Vec<Result<Submission, Problem>>,
    accept: impl Fn(Submission) -> F,
) -> BatchOut {
    let mut results: Vec<Option<Result<MessageOut, Problem>>> = read.iter().map(|_| None).collect();
    for round in rounds(read) {
        let (mut places, mut accepting) = (Vec::new(), Vec::new());
        for (place, read) in round {
            match read {
                Ok(submission) => {
                    places.push(place);
                    accepting.push(accept(submission));
                }
                Err(problem) => results[place] = Some(Err(problem)),
            }
        }
        for (place, accepted) in places.into_iter().zip(join_all(accepting).await) {
            results[place] = Some(accepted);
        }
    }
    let results = results.into_iter().flatten().map(|accepted| match accepted {
        Ok(message) => ResultOut { status: StatusCode::ACCEPTED.as_u16(), message: Some(message), error: None },
        Err(problem) => ResultOut { status: problem.status().as_u16(), message: None, error: Some(problem) },
    });
    BatchOut { results: results.collect() }
}

/// What was read of one message of a batch, and its place there.
type Read = (usize, Result<Submission, Problem>);

/// The messages of a batch in rounds: those of one id one after the other, as if they came one by one.
fn rounds(messages: Vec<Result<Submission, Problem>>) -> Vec<Vec<Read>> {
    let mut rounds: Vec<Vec<Read>> = Vec::new();
    let mut seen: HashMap<(Option<String>, String), usize> = HashMap::new();
    for (place, read) in messages.into_iter().enumerate() {
        let id = read.as_ref().ok().and_then(|submission| Some((submission.source.clone(), submission.event_id.clone()?)));
        let round = id.map_or(0, |id| {
            let earlier = seen.entry(id).or_default();
            *earlier += 1;
            *earlier - 1
        });
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push((place, read));
    }
    rounds
}
