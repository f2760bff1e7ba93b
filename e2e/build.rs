//! Generates a gRPC service, both halves of it, to be called through a gateway: the sync contract is one that streams.

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
