//! JSON Schemas of the catalog: checked against, and drawn from what was seen.

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::{Map, Value, json};

/// Deepest level of a [`shape`]; what is below is left open.
const SHAPE_DEPTH: usize = 8;
/// Most fields of a [`shape`], over all its levels: an object whose names are data has no shape worth keeping.
const SHAPE_FIELDS: usize = 200;
/// Longest name in a [`shape`].
const SHAPE_NAME_BYTES: usize = 128;
/// Elements of one array that are looked at.
const SHAPE_ELEMENTS: usize = 20;

/// A schema, ready to judge data. Draft 2020-12 unless it names another; patterns take time linear in what they are matched with,
/// and nothing is ever fetched.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// A schema from its document, or what is wrong with it in words.
    pub fn compile(document: &Value) -> Result<Self, String> {
        let options = jsonschema::options().with_retriever(NoRetriever).with_pattern_options(PatternOptions::regex());
        let validator = options.build(document).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "its top level".to_owned() } else { place };
            format!("is not a JSON Schema that can be used, at {place}: references must stay within it")
        })?;
        Ok(Self(validator))
    }

    /// Whether `data` fits; if not, the place in the schema that it breaks. Never anything of the data.
    pub fn check(&self, data: &[u8]) -> Result<(), String> {
        let Ok(data) = serde_json::from_slice::<Value>(data) else { return Err("the data is not JSON".to_owned()) };
        match self.0.iter_errors(&data).next() {
            None => Ok(()),
            Some(error) => Err(format!("the data does not fit its type's schema at {}", error.schema_path())),
        }
    }
}

/// A schema is whole in itself: what it refers to elsewhere is refused.
struct NoRetriever;

impl Retrieve for NoRetriever {
    fn retrieve(&self, _uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("references must stay within the schema".into())
    }
}

/// The shape of data as a schema: names and types, never values. `None` for what is not JSON.
pub fn shape(data: &[u8]) -> Option<Value> {
    let data = serde_json::from_slice(data).ok()?;
    Some(draw(&data, SHAPE_DEPTH, &mut { SHAPE_FIELDS }))
}

fn draw(data: &Value, depth: usize, fields_left: &mut usize) -> Value {
    match data {
        Value::Null => json!({ "type": "null" }),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(_) | Value::Object(_) if depth == 0 => json!({}),
        Value::Array(elements) => {
            let mut shapes: Vec<Value> = Vec::new();
            for element in elements.iter().take(SHAPE_ELEMENTS) {
                let shape = draw(element, depth - 1, fields_left);
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
            match shapes.len() {
                0 => json!({ "type": "array" }),
                1 => json!({ "type": "array", "items": shapes.pop() }),
                _ => json!({ "type": "array", "items": { "anyOf": shapes } }),
            }
        }
        Value::Object(fields) => {
            let mut properties = Map::new();
            for (name, value) in fields.iter().filter(|(name, _)| name.len() <= SHAPE_NAME_BYTES) {
                if *fields_left == 0 {
                    break;
                }
                *fields_left -= 1;
                properties.insert(name.clone(), draw(value, depth - 1, fields_left));
            }
            json!({ "type": "object", "properties": properties })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order() -> Schema {
        let schema = json!({
            "type": "object",
            "required": ["amount"],
            "properties": { "amount": { "type": "integer" }, "currency": { "$ref": "#/$defs/currency" } },
            "$defs": { "currency": { "type": "string", "pattern": "^[A-Z]{3}$" } },
        });
        Schema::compile(&schema).expect("a schema")
    }

    #[test]
    fn what_breaks_is_told_by_its_place_in_the_schema_and_not_by_its_value() {
        assert_eq!(order().check(br#"{"amount": 1, "currency": "EUR"}"#), Ok(()));
        let misfit = |data: &str| order().check(data.as_bytes()).expect_err("a misfit");
        assert_eq!(misfit("secret"), "the data is not JSON");
        for (data, place) in [
            (r#"{"amount": "hunter2"}"#, "/properties/amount/type"),
            (r#"{"amount": 1, "currency": "hunter2"}"#, "pattern"),
            (r#"{"hunter2": 1}"#, "/required"),
        ] {
            let text = misfit(data);
            assert!(text.contains(place) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_schema_that_points_elsewhere_or_is_none_is_refused() {
        for bad in [
            json!({ "$ref": "https://example.com/schema.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "properties": { "a": { "$ref": "other.json#/a" } } }),
            json!({ "type": "no such type" }),
            json!({ "pattern": "(" }),
            json!({ "$ref": "#/$defs/missing" }),
            json!(7),
        ] {
            let error = Schema::compile(&bad).expect_err("refused");
            assert!(error.contains("not a JSON Schema"), "{error}");
        }
        Schema::compile(&json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "string" })).expect("a schema");
        Schema::compile(&json!(true)).expect("a schema");
    }

    #[test]
    fn a_shape_has_names_and_types() {
        let data = json!({ "id": 7, "price": 1.5, "tags": ["a", 1, "b"], "by": { "admin": true, "note": null } });
        let shape = shape(data.to_string().as_bytes()).expect("JSON");
        let properties = json!({
            "id": { "type": "integer" },
            "price": { "type": "number" },
            "tags": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "integer" }] } },
            "by": { "type": "object", "properties": { "admin": { "type": "boolean" }, "note": { "type": "null" } } },
        });
        assert_eq!(shape, json!({ "type": "object", "properties": properties }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "value[a-z]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(12, 300, 30, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
                prop::collection::btree_map("[a-u]{0,200}", inner, 0..30)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_shape_fits_what_it_was_drawn_from_holds_no_value_and_is_bounded(data in any_json()) {
            let text = data.to_string();
            let drawn = shape(text.as_bytes()).expect("JSON");
            prop_assert!(!drawn.to_string().contains("value"));
            prop_assert!(drawn.to_string().len() < (SHAPE_NAME_BYTES + 200) * (SHAPE_FIELDS + 1) * 2);
            // Elements beyond those looked at may be of another type.
            if !text.contains('[') {
                prop_assert_eq!(Schema::compile(&drawn).expect("a schema").check(text.as_bytes()), Ok(()));
            }
        }
    }
}
