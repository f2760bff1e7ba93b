//! Generates a gRPC service, both halves of it, to be called through a gateway: the sync contract is one that streams.
//! Cuts the Rust out of the page about verifying webhooks, for a test to run.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = "../docs/webhooks/verify.md";
    println!("cargo::rerun-if-changed={page}");
    let text = std::fs::read_to_string(page)?;
    let block = text.split_once("\n```rust\n").and_then(|(_, rest)| rest.split_once("\n```\n"));
    let (block, _) = block.ok_or("the page has no Rust")?;
    let into = std::path::Path::new(&std::env::var("OUT_DIR")?).join("quickstart.rs");
    std::fs::write(into, block)?;

    let protos = "../config/proto";
    let file = "clearway/sync/v1/sync.proto";
    println!("cargo::rerun-if-changed={protos}/{file}");
    let descriptors = protox::compile([format!("{protos}/{file}")], [protos])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".clearway.sync.v1", "::clearway_config::sync::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
