//! Processor time a request: pass-through, gateway with 1,000 and with many keys, nginx, in turns.

use std::{path::PathBuf, time::Duration};

use crate::{
    beside,
    fixture::Keys,
    systems::{Protocol, System},
    traffic::Upstream,
};

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) slice: Duration,
    pub(crate) connections: usize,
    pub(crate) protocol: Protocol,
    pub(crate) keys_many: usize,
    /// Further settings of the gateway.
    pub(crate) settings: String,
    /// Whether requests are to be their keys' first.
    pub(crate) first_use: bool,
    /// Another build of the gateway, timed in turn with this one.
    pub(crate) against: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) async fn run(plan: &Plan) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let few = Keys::mint(1_000);
    let many = Keys::mint(plan.keys_many);
    let many_keys = format!("{} keys", grouped(plan.keys_many));
    let tables = [("1,000 keys", &few), (many_keys.as_str(), &many)];
    let builds = [Some(("clearway", beside("clearway-proxy")?)), plan.against.clone().map(|file| ("against", file))];
    let mut systems = vec![System::pass_through(&upstream, &few, plan.protocol).await?];
    for (build, binary) in builds.into_iter().flatten() {
        for (size, keys) in tables {
            let name = format!("{build}, {size}");
            let system = System::clearway_used(&name, &binary, &plan.settings, &upstream, keys, plan.first_use).await?;
            system.prove_gateway(&upstream, keys).await?;
            systems.push(system.spoken_to(plan.protocol));
        }
    }
    match System::nginx(&upstream, &few, plan.protocol).await? {
        Some(nginx) => systems.push(nginx),
        None => println!("nginx is not installed and is left out (Debian: apt-get install nginx)"),
    }
    // The first slice fills pools and caches and is not counted.
    for system in &mut systems {
        system.slice(plan.connections, plan.slice).await?;
        system.run = crate::traffic::Run::default();
        system.slices_us.clear();
    }
    for _ in 0..plan.rounds {
        for system in &mut systems {
            system.slice(plan.connections, plan.slice).await?;
        }
    }
    report(plan, &mut systems);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(plan: &Plan, systems: &mut [System]) {
    println!(
        "\n{} connections{}, {} slices of {} ms each in turn, one core a gateway; processor time is the median slice's\n",
        plan.connections,
        plan.protocol,
        plan.rounds,
        plan.slice.as_millis()
    );
    println!("{:<28} {:>10} {:>8} {:>10} {:>8} {:>8}", "", "CPU us/req", "ratio", "req/s", "p50 us", "p99 us");
    let floor = systems[0].cpu_us();
    for system in systems.iter_mut() {
        let cpu = system.cpu_us();
        println!(
            "{:<28} {:>10.2} {:>8.3} {:>10.0} {:>8} {:>8}",
            system.name,
            cpu,
            cpu / floor,
            system.run.per_second(),
            system.run.percentile_us(0.5),
            system.run.percentile_us(0.99)
        );
    }
    println!();
    for of in systems.windows(2).skip(1).filter(|of| of[1].name.starts_with(of[0].name.split(',').next().unwrap_or_default())) {
        let (few, many) = (of[0].cpu_us(), of[1].cpu_us());
        let build = of[0].name.split(',').next().unwrap_or_default();
        println!("{build} / pass-through: {:.3}; many keys / 1,000 keys: {:.3}, {:+.2} us", few / floor, many / few, many - few);
    }
    if let Some(nginx) = systems.last().filter(|last| last.name.starts_with("nginx")) {
        println!("clearway / nginx: {:.3}", systems[1].cpu_us() / nginx.cpu_us());
    }
}

/// 1000000 as 1,000,000.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
