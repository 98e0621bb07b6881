//! The table of clients in `proto/README.md` says what `proto/publishers.json` says, which the tests publish.

use std::fs;

use serde_json::Value;

#[test]
fn the_table_of_clients_is_the_data_that_is_tested() {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let readme = fs::read_to_string(format!("{proto}/README.md")).expect("proto/README.md");
    let rows: Vec<Value> =
        serde_json::from_slice(&fs::read(format!("{proto}/publishers.json")).expect("the data")).expect("JSON");
    assert!(rows.len() >= 25, "{}", rows.len());
    for row in rows {
        let text = |name: &str| row[name].as_str();
        let becomes = match (text("refused"), row["wire"].is_object()) {
            (Some(reason), _) => format!("refused, `{reason}`"),
            (None, true) => "delivered".to_owned(),
            (None, false) => "–".to_owned(),
        };
        let (client, says) = (text("client").expect("a client"), text("says").expect("what it does"));
        let line = format!("| {client} | {says} | {becomes} | {} |", text("advice").unwrap_or("–"));
        assert!(readme.lines().any(|found| found == line), "proto/README.md lacks\n{line}");
    }
}
