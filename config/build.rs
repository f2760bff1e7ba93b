//! Compiles the messages of the contracts between the planes. Each plane generates its own half of the services
//! (client in the proxy, server in the control plane), so that this crate stays free of any runtime.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sync, egress) = ("clearway/sync/v1/sync.proto", "clearway/egress/v1/egress.proto");
    for file in [sync, egress] {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    // They may hold secrets: `sync` says how they are printed.
    let secret = ["Credential", "TokenIssuer", "Certificate", "WebhookSecrets", "WebhookSecret"];
    let secret: Vec<String> = secret.iter().map(|message| format!("clearway.sync.v1.{message}")).collect();
    let mut messages = prost_build::Config::new();
    messages.skip_protoc_run().skip_debug(secret).compile_fds(protox::compile([sync], ["proto"])?)?;
    let mut messages = prost_build::Config::new();
    messages
        .skip_protoc_run()
        // An event goes to many webhooks: its body is shared, not copied.
        .bytes(["clearway.egress.v1.Attempt.body"])
        .extern_path(".clearway.sync.v1", "crate::sync::v1")
        .compile_fds(protox::compile([egress], ["proto"])?)?;
    Ok(())
}
