//! Generates the client half of the services between the planes; their messages are `clearway_config`'s.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = "../config/proto";
    for file in ["clearway/sync/v1/sync.proto", "clearway/egress/v1/egress.proto"] {
        println!("cargo::rerun-if-changed={protos}/{file}");
        let descriptors = protox::compile([format!("{protos}/{file}")], [protos])?;
        tonic_prost_build::configure()
            .build_server(false)
            .build_transport(false)
            .extern_path(".clearway.sync.v1", "::clearway_config::sync::v1")
            .extern_path(".clearway.egress.v1", "::clearway_config::egress::v1")
            .compile_fds(descriptors)?;
    }
    Ok(())
}
