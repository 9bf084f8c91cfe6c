//! From a checked command line to the end of the process.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wsproto::Policy;
use wsproxy::auth::Auth;
use wsproxy::dial::Dialer;
use wsproxy::limits::Limits;
use wsproxy::made::MadeFile;
use wsproxy::proxy::{Proxy, Towards};
use wsproxy::socket::{self, Accepted, Bound, Inherited};
use wsproxy::tls::{TargetTls, Tls};
use wsproxy::token::Tokens;
use wsproxy::web::Web;
use wsproxy::{BadSetting, Server, Settings, monitor};

use crate::config::{self, Config};
use crate::daemon::{self, Side};
use crate::doors::Doors;
use crate::ending::{Ending, Reload};
use crate::failure::Failure;
use crate::notify::Notify;
use crate::options::watching::Watchers;
use crate::program::Running;
use crate::wrap::Plan;
use crate::{ending, inherited, logging};

/// Where connections come from.
#[derive(Default)]
struct Sources {
    listeners: Vec<Bound>,
    connections: Vec<Accepted>,
    monitor: Vec<Bound>,
}

/// Starts as `config` says, with the sockets that systemd passes, and runs to the end. What can go wrong goes wrong before
/// the process is in the background. No other thread may run.
///
/// # Errors
/// What cannot be opened, or given up.
pub fn start(config: &Config, descriptors: Vec<OwnedFd>) -> Result<u8, Failure> {
    let limit = daemon::raise_descriptor_limit();
    let (towards, program) = match &config.towards {
        config::Towards::One(destination) => (Towards::One(destination.clone()), None),
        config::Towards::Tokens(settings) => {
            let tokens = Tokens::new(settings.clone()).map_err(Failure::setting)?;
            (Towards::Tokens(Arc::new(tokens)), None)
        }
        config::Towards::Program(program) => {
            let plan = Plan::of(program, config)?;
            (Towards::One(plan.destination.clone()), Some((plan, program.mode)))
        }
    };
    // A program that serves by itself opens its port itself.
    let serves = program.as_ref().is_none_or(|(plan, _)| plan.behind);
    let front = Front::open(config, towards)?;
    let log = logging::open(&config.log)?;
    let mut sources = Sources::default();
    if serves {
        sources.open(config, descriptors)?;
    } else {
        for listen in &config.listen {
            socket::check_free(listen.port).map_err(|why| Failure::system(listen, why))?;
        }
    }
    // From here on there are files to remove.
    ending::hold_signals();
    let mut socket_file = sources.open_unix(config)?;
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|why| Failure::system("/dev/null", why))?;
    let notify = Notify::from_environment();
    let waiter = match config.running.daemon.then(daemon::background).transpose()? {
        // Without cleaning up: the files are the daemon's.
        Some(Side::Started(status)) => exit(status),
        Some(Side::Daemon(waiter)) => Some(waiter),
        None => None,
    };
    let mut pid_file = config.running.pid_file.as_deref().map(daemon::write_pid).transpose()?.flatten();
    daemon::give_up(&config.identity, socket_file.iter_mut().chain(&mut pid_file))?;
    let audible = waiter.is_none() && !inherited::stderr_is_the_socket();
    if config.inetd && !audible {
        daemon::silence(&null)?;
    }
    let file = log.begin(audible);
    let mut reloads: Vec<Reload> = file.map(|file| Box::new(move || file.reopen()) as Reload).into_iter().collect();

    let control = runtime()?;
    if let Some(tls) = front.tls.clone() {
        front.announce(config.inetd);
        let watched = tls.clone();
        control.spawn(async move { watched.watch().await });
        reloads.push(Box::new(move || tls.reload().map_err(|bad| bad.to_string())));
    }
    let auth = Arc::clone(&front.auth);
    reloads.push(Box::new(move || auth.reload().map_err(|bad| bad.to_string())));
    if let Towards::Tokens(tokens) = &front.towards {
        let tokens = Arc::clone(tokens);
        reloads.push(Box::new(move || tokens.reload().map_err(|bad| bad.to_string())));
    }
    let watchers = config.watching.start().map_err(|why| Failure::system("a thread", why))?;
    let recorder = watchers.recorder.clone();
    let (server, settings) = server(config, front, watchers);
    let ending = {
        // Signals are caught before anybody is told that it runs.
        let _inside = control.enter();
        Ending::new(&config.running, reloads).map_err(|why| Failure::system("signals", why))?
    };
    ending::release_signals();
    let doors = Arc::new(Doors::new(&sources.listeners));
    if serves {
        serve(&control, &server, &settings, sources, &doors)?;
    }
    let started = program.map(|(plan, mode)| {
        let _inside = control.enter();
        Running::start(plan, mode, config.running.daemon, limit)
    });
    let program = started.transpose()?;
    if let Some(waiter) = waiter {
        waiter.ready(&null)?;
    }
    notify.ready();
    let status = control.block_on(ending.reached(&server, &settings.lifecycle, &doors, &notify, program));
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    tracing::info!("ended");
    // A name that is being looked up is no reason to wait.
    control.shutdown_background();
    Ok(status)
}

/// What stands in front of the handler, and behind it.
struct Front {
    tls: Option<Tls>,
    web: Option<Arc<Web>>,
    target: Option<TargetTls>,
    auth: Arc<Auth>,
    towards: Towards,
}

impl Front {
    /// Reads certificates, keys and passwords, and opens the directory of the web side.
    fn open(config: &Config, towards: Towards) -> Result<Self, Failure> {
        let open = || -> Result<Self, BadSetting> {
            let (tls, target) = (config.tls.server()?, config.tls.target()?);
            let auth = Arc::new(Auth::new(config.auth.clone())?);
            Ok(Front { tls, web: config.web.web()?.map(Arc::new), target, auth, towards })
        };
        open().map_err(Failure::setting)
    }

    /// Tells the fingerprint of a certificate that was made for this run.
    fn announce(&self, inetd: bool) {
        let Some(fingerprint) = self.tls.as_ref().and_then(Tls::fingerprint) else {
            return;
        };
        if inetd {
            // Standard output is the client's.
            tracing::info!(fingerprint, "self-signed certificate");
        } else {
            // Where nobody listens it is still to be had from the port.
            let _ = writeln!(io::stdout(), "SHA-256 fingerprint of the certificate: {fingerprint}");
        }
    }
}

impl Sources {
    /// Opens all sockets that have no file.
    fn open(&mut self, config: &Config, descriptors: Vec<OwnedFd>) -> Result<(), Failure> {
        for listen in &config.listen {
            self.listeners.extend(socket::listen(listen).map_err(|why| Failure::system(listen, why))?);
        }
        if let Some(listen) = &config.running.metrics {
            self.monitor = socket::listen(listen).map_err(|why| Failure::system(format!("--metrics {listen}"), why))?;
        }
        let given = descriptors.into_iter().map(|descriptor| ("a socket of systemd's (LISTEN_FDS)", Ok(descriptor)));
        let input = config.inetd.then(|| ("--inetd, standard input", inherited::from_inetd()));
        for (what, descriptor) in given.chain(input) {
            let inherited = descriptor.and_then(socket::inherit);
            match inherited.map_err(|why: io::Error| Failure::system(what, why))? {
                Inherited::Listener(socket) => self.listeners.push(socket),
                Inherited::Connection(connection) => self.connections.push(connection),
            }
        }
        Ok(())
    }

    /// Opens the Unix socket, whose file is to be removed at the end.
    fn open_unix(&mut self, config: &Config) -> Result<Option<MadeFile>, Failure> {
        let Some((path, mode)) = &config.unix_listen else { return Ok(None) };
        let failed = |why| Failure::system(format!("--unix-listen {}", path.display()), why);
        let (socket, file) = socket::listen_unix(path, *mode).map_err(failed)?;
        self.listeners.push(socket);
        Ok(Some(file))
    }
}

fn server(config: &Config, front: Front, watchers: Watchers) -> (Server<Proxy>, Settings) {
    let clients = &config.clients;
    let number = |limit: Option<u64>| limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let policy = Policy { origins: config.origins.clone(), ..Policy::default() };
    let settings = Settings {
        policy,
        handshake_timeout: Duration::from_secs(clients.handshake_timeout),
        trusted: config.trusted.clone(),
        limits: Limits::new(number(clients.max_connections), number(clients.max_per_ip)),
        once: config.running.run_once,
        tls: front.tls,
        web: front.web,
        ..Settings::default()
    };
    let proxy = Proxy {
        auth: front.auth,
        towards: front.towards,
        dialer: Dialer { tls: front.target, ..config.dialer.clone() },
        heartbeat: (clients.heartbeat > 0).then(|| Duration::from_secs(clients.heartbeat)),
        metrics: settings.metrics.clone(),
        recorder: watchers.recorder,
        traffic: watchers.traffic,
    };
    (Server::new(settings.clone(), proxy), settings)
}

/// Begins to serve: on a thread for each processor, of which each has a runtime and a copy of each socket.
fn serve(
    control: &Runtime,
    server: &Server<Proxy>,
    settings: &Settings,
    sources: Sources,
    doors: &Arc<Doors>,
) -> Result<(), Failure> {
    let failed = |why| Failure::system("listening", why);
    let Sources { listeners, connections, monitor } = sources;
    for listener in &listeners {
        tracing::info!(address = %listener, "listening");
    }
    for bound in monitor {
        let _inside = control.enter();
        let listener = bound.into_listener().map_err(failed)?;
        control.spawn(monitor::run(listener, settings.metrics.clone(), settings.lifecycle.clone()));
    }
    if listeners.is_empty() {
        // inetd's nowait: one connection, and no more to come.
        let (server, lifecycle) = (server.clone(), settings.lifecycle.clone());
        control.spawn(async move {
            for connection in connections {
                if let Err(error) = server.serve(connection).await {
                    tracing::error!(%error, "the connection cannot be served");
                }
            }
            lifecycle.drain();
        });
        return Ok(());
    }
    for connection in connections {
        let server = server.clone();
        control.spawn(async move { server.serve(connection).await });
    }
    let workers = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..workers {
        let copies = listeners.iter().map(Bound::try_clone).collect::<io::Result<Vec<Bound>>>().map_err(failed)?;
        let (runtime, server, doors) = (runtime()?, server.clone(), Arc::clone(doors));
        let work = move || {
            runtime.block_on(async {
                for (number, copy) in copies.into_iter().enumerate() {
                    let (server, doors) = (server.clone(), Arc::clone(&doors));
                    match copy.into_listener() {
                        Ok(listener) => drop(tokio::spawn(async move {
                            if let Err(error) = server.run(listener).await {
                                doors.lost(number, &error);
                            }
                        })),
                        Err(error) => tracing::error!(%error, "a socket cannot be listened on"),
                    }
                }
                server.finished().await;
            });
            runtime.shutdown_background();
        };
        thread::Builder::new().name("worker".into()).spawn(work).map_err(failed)?;
    }
    Ok(())
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|why| Failure::system("the runtime", why))
}
