//! CPU of all processes as a table for people.

use std::fmt::{self, Display, Formatter};

use super::usage::CpuSpan;

/// CPU over a span in which so many messages were acked.
#[derive(Debug)]
pub(super) struct CpuTable<'a>(pub(super) &'a CpuSpan, pub(super) u64);

impl Display for CpuTable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(cpu, messages) = self;
        let per_thousand = |seconds: f64| seconds / (*messages).max(1) as f64 * 1e6;
        writeln!(
            f,
            "  {:<22} {:>9} {:>9} {:>16}",
            "CPU", "seconds", "cores", "ms per 1,000"
        )?;
        for it in &cpu.servers {
            let per = per_thousand(it.seconds);
            writeln!(f, "  {:<22} {:>9.2} {:>9.2} {per:>16.1}", it.name, it.seconds, it.cores)?;
        }
        let (seconds, cores) = (cpu.seconds(), cpu.servers.iter().map(|it| it.cores).sum::<f64>());
        let per = per_thousand(seconds);
        writeln!(f, "  {:<22} {seconds:>9.2} {cores:>9.2} {per:>16.1}", "all servers")?;
        if let Some(own) = &cpu.load_generator {
            let name = format!("({})", own.name);
            writeln!(f, "  {name:<22} {:>9.2} {:>9.2}", own.seconds, own.cores)?;
        }
        writeln!(f, "  {:<22} {:>9} {:>9.2}", "(others here)", "", cpu.others_cores)?;
        if !cpu.restarted.is_empty() {
            let names = cpu.restarted.join(", ");
            writeln!(f, "  started again meanwhile, not counted: {names}")?;
        }
        Ok(())
    }
}
