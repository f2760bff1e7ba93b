//! Processor time a request: pass-through, gateway with 1,000 and with many keys, nginx, in turns.

use std::time::Duration;

use crate::{fixture::Keys, systems::System, traffic::Upstream};

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) slice: Duration,
    pub(crate) connections: usize,
    pub(crate) keys_many: usize,
    /// Further settings of the gateway.
    pub(crate) settings: String,
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) async fn run(plan: &Plan) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let few = Keys::mint(1_000);
    let many = Keys::mint(plan.keys_many);
    let mut systems = vec![
        System::pass_through(&upstream, &few).await?,
        System::clearway("clearway, 1,000 keys", &plan.settings, &upstream, &few).await?,
        System::clearway(&format!("clearway, {} keys", grouped(plan.keys_many)), &plan.settings, &upstream, &many).await?,
    ];
    systems[1].prove_gateway(&upstream, &few).await?;
    systems[2].prove_gateway(&upstream, &many).await?;
    match System::nginx(&upstream, &few).await? {
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
        "\n{} connections, {} slices of {} ms each in turn, one core a gateway; processor time is the median slice's\n",
        plan.connections,
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
    let (few, many) = (systems[1].cpu_us(), systems[2].cpu_us());
    println!("\nclearway / pass-through          {:.3}", few / floor);
    println!("many keys / 1,000 keys           {:.3}", many / few);
    if let Some(nginx) = systems.get(3) {
        println!("clearway / nginx                 {:.3}", few / nginx.cpu_us());
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
