//! What a key costs in memory, and how long a gateway takes from its start to its first answer.

use crate::{cpu, fixture::Keys, proxy::grouped, systems::System, traffic::Upstream};

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) async fn run(keys_many: usize, settings: &str) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let one = Keys::mint(1);
    let empty = System::clearway("clearway, 1 key", settings, &upstream, &one).await?;
    let many = Keys::mint(keys_many);
    let full = System::clearway("clearway, many keys", settings, &upstream, &many).await?;
    full.prove_gateway(&upstream, &many).await?;
    let ((empty_all, empty_anon), (full_all, full_anon)) = (cpu::resident(empty.pid()), cpu::resident(full.pid()));
    let per_key = |full: u64, empty: u64| full.saturating_sub(empty) as f64 / keys_many as f64;
    println!("\n{} keys, loaded from the disk snapshot", grouped(keys_many));
    println!(
        "start to first 200               {:.2} s (1 key: {:.2} s)",
        full.started_in.as_secs_f64(),
        empty.started_in.as_secs_f64()
    );
    println!(
        "resident bytes a key             {:.0} ({:.0} of them anonymous)",
        per_key(full_all, empty_all),
        per_key(full_anon, empty_anon)
    );
    println!("resident in all                  {} MiB (1 key: {} MiB)", full_all >> 20, empty_all >> 20);
    Ok(())
}
