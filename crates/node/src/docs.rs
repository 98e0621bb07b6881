//! The page on which people read the API's description: plain HTML, made of the description itself.

use std::sync::Arc;

use axum::Router;
use axum::response::{Html, IntoResponse as _};
use axum::routing::get;
use http::{HeaderValue, header};
use serde_json::Value;

use crate::openapi::document;

/// Fonts and colours; nothing is loaded from anywhere.
const STYLE: &str = include_str!("openapi.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The description and its page, for anybody: there is nothing secret in them.
pub fn routes() -> Router {
    let page: Arc<str> = Arc::from(page(&serde_json::from_str(document()).unwrap_or_default()));
    let json = || async { ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document()) };
    let html = move || {
        let page = Arc::clone(&page);
        async move {
            let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))];
            (policy, Html(page.to_string())).into_response()
        }
    };
    Router::new().route("/api/v1/openapi.json", get(json)).route("/api/v1/docs", get(html))
}

/// Every operation with what goes in and what comes out.
fn page(document: &Value) -> String {
    let title = text(&document["info"]["title"]);
    let mut html = vec![format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} API</title><style>{STYLE}</style><h1>{title} API</h1>{}\
         <p><a href=\"/api/v1/openapi.json\">openapi.json</a></p><nav>",
        paragraphs(&document["info"]["description"])
    )];
    let tags = document["tags"].as_array().cloned().unwrap_or_default();
    for tag in &tags {
        html.push(format!("<a href=\"#{0}\">{1}</a>", anchor(&tag["name"]), text(&tag["name"])));
    }
    html.push("</nav>".to_owned());
    for tag in &tags {
        html.push(format!("<h2 id=\"{}\">{}</h2>", anchor(&tag["name"]), text(&tag["name"])));
        html.push(paragraphs(&tag["description"]));
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in operations.as_object().into_iter().flatten() {
                if operation["tags"].as_array().is_some_and(|tags| tags.contains(&tag["name"])) {
                    html.push(operation_html(document, path, method, operation));
                }
            }
        }
    }
    html.push("</html>".to_owned());
    html.concat()
}

fn operation_html(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut html = vec![format!(
        "<details id=\"{}\"><summary><b>{}</b><code>{}</code><span>{}</span></summary><div>{}",
        anchor(&operation["operationId"]),
        escaped(&method.to_uppercase()),
        escaped(path),
        text(&operation["summary"]),
        paragraphs(&operation["description"])
    )];
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    if !parameters.is_empty() {
        html.push("<h4>Parameters</h4><table>".to_owned());
        for parameter in &parameters {
            let kind = format!("{}, {}", text(&parameter["in"]), kind_of(&parameter["schema"]));
            html.push(row(&text(&parameter["name"]), &kind, parameter["required"] == true, &parameter["description"]));
        }
        html.push("</table>".to_owned());
    }
    for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        html.push(format!("<h4>Body: {}</h4>{}", escaped(kind), schema_html(document, &content["schema"])));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let content = response["content"].as_object().and_then(|content| content.values().next());
        html.push(format!("<h4>{}: {}</h4>", escaped(status), text(&response["description"])));
        // What every operation answers when something is wrong is told once.
        if status.starts_with('2')
            && let Some(content) = content
        {
            html.push(schema_html(document, &content["schema"]));
        }
    }
    html.push("</div></details>".to_owned());
    html.concat()
}

/// The fields of an object, and an example.
fn schema_html(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    let mut html: Vec<String> = Vec::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        html.push(schema_html(document, part));
    }
    if let Some(properties) = schema["properties"].as_object() {
        html.push("<table>".to_owned());
        for (name, property) in properties {
            let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name));
            html.push(row(name, &kind_of(property), required, &property["description"]));
        }
        html.push("</table>".to_owned());
        for items in properties.values().filter(|property| property["type"] == "array").map(|property| &property["items"]) {
            let items = resolved(document, items);
            if items["properties"].is_object() || items["allOf"].is_array() {
                html.push(format!(
                    "<details><summary><span>each of them</span></summary><div>{}</div></details>",
                    schema_html(document, items)
                ));
            }
        }
    }
    if let Some(example) = schema.get("example") {
        let example = serde_json::to_string_pretty(example).unwrap_or_default();
        html.push(format!("<pre>{}</pre>", escaped(&example)));
    }
    html.concat()
}

fn row(name: &str, kind: &str, required: bool, description: &Value) -> String {
    let required = if required { ", required" } else { "" };
    format!("<tr><th><code>{}</code><td>{}{required}<td>{}", escaped(name), escaped(kind), text(description))
}

/// What a schema points to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let choice = schema["oneOf"].as_array().and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
    let schema = choice.unwrap_or(schema);
    match schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).unwrap_or(schema),
        None => schema,
    }
}

/// A schema in a word or two.
fn kind_of(schema: &Value) -> String {
    let choice = schema["oneOf"].as_array().and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
    let schema = choice.unwrap_or(schema);
    if let Some(target) = schema["$ref"].as_str() {
        return target.rsplit('/').next().unwrap_or_default().to_owned();
    }
    let names = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        other => other.as_str().unwrap_or("any").to_owned(),
    };
    if names.contains("array") { format!("{names} of {}", kind_of(&schema["items"])) } else { names }
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn paragraphs(value: &Value) -> String {
    let written = value.as_str().unwrap_or_default();
    let parts = written.split("\n\n").filter(|part| !part.is_empty());
    parts.map(|part| format!("<p>{}</p>", escaped(part))).collect::<Vec<_>>().concat()
}

fn anchor(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_on_the_page_and_nothing_on_it_comes_from_elsewhere() {
        let document: Value = serde_json::from_str(document()).expect("JSON");
        let page = page(&document);
        let operations = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|path| path.as_object().expect("operations").values());
        for operation in operations {
            assert!(page.contains(&format!("id=\"{}\"", anchor(&operation["operationId"]))), "{operation}");
        }
        assert!(!page.contains("http://") && !page.contains("<script") && !page.contains("url("), "{page}");
    }
}
