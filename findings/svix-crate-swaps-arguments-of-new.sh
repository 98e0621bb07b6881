#!/usr/bin/env bash
# crates.io svix 1.99.1 and 2.9.1.
#
# `EventTypeIn::new` takes two `String`s: the description and then the name in 1.99.1, the name and then the description in 2.9.1. A program
# that is built with the other release compiles without a word, and describes a type that is called by its description.
#
# Needs cargo. Exits with 1 when the behaviour is another.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/src"
cat >"$place/Cargo.toml" <<'T'
[workspace]
[package]
name = "look"
version = "0.0.0"
edition = "2024"
[dependencies]
before = { package = "svix", version = "=1.99.1" }
after = { package = "svix", version = "=2.9.1" }
T
cat >"$place/src/main.rs" <<'R'
fn main() {
    let before = before::models::EventTypeIn::new("one".into(), "two".into());
    let after = after::models::EventTypeIn::new("one".into(), "two".into());
    println!("1.99.1: name {}, description {}; 2.9.1: name {}, description {}", before.name, before.description, after.name, after.description);
}
R
seen=$(cd "$place" && CARGO_TARGET_DIR="$place/target" cargo run --quiet)
echo "$seen"
# Seen: 1.99.1: name two, description one; 2.9.1: name one, description two
[ "$seen" = "1.99.1: name two, description one; 2.9.1: name one, description two" ]
