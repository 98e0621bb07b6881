//! Compiles the protobuf contracts without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ROOT: &str = "../../proto";
    println!("cargo:rerun-if-changed={ROOT}/hookyard");
    let files = ["event", "delivery", "journal"].map(|name| format!("hookyard/v1/{name}.proto"));
    let descriptors = protox::compile(files, [ROOT])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
