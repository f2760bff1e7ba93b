//! Compiles the sync contract's messages. Each plane generates its own half of the service
//! (client in the proxy, server in the control plane), so that this crate stays free of any runtime.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "proto/clearway/sync/v1/sync.proto";
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["proto"])?;
    // They may hold secrets: `sync` says how they are printed.
    let secret = ["clearway.sync.v1.Credential", "clearway.sync.v1.Certificate"];
    prost_build::Config::new().skip_protoc_run().skip_debug(secret).compile_fds(descriptors)?;
    Ok(())
}
