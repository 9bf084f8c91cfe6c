complete -c wsproxy -l unix-listen -d 'Listen on a Unix socket, too, or alone' -r -F
complete -c wsproxy -l unix-listen-mode -d 'Permissions of that socket, in octal' -r
complete -c wsproxy -l unix-target -d 'Connect to a Unix socket' -r -F
complete -c wsproxy -l source-addr -d 'Connect from this address' -r
complete -c wsproxy -l proxy-protocol -d 'Tell the target the client\'s address: v1 or v2 of the PROXY protocol' -r
complete -c wsproxy -l connect-timeout -d 'Time for a connection to the target' -r
complete -c wsproxy -l trust-proxy -d 'Believe proxies in this network, or "unix": X-Forwarded-For, X-Forwarded-Proto and the PROXY protocol; repeatable' -r
complete -c wsproxy -l handshake-timeout -d 'Time for an opening handshake' -r
complete -c wsproxy -l heartbeat -d 'Ping a silent client every so many seconds, and give it up after three without an answer; 0 never' -r
complete -c wsproxy -l max-connections -d 'The most WebSockets at a time; one more is answered with 503' -r
complete -c wsproxy -l max-per-ip -d 'The most WebSockets of one address (IPv6: of one /64 network) at a time; one more is answered with 429' -r
complete -c wsproxy -l pid-file -d 'Write the process id to this file' -r -F
complete -c wsproxy -l user -d 'Become this user, by name or number, when all is opened' -r
complete -c wsproxy -l group -d 'Become this group, by name or number; default the user\'s own' -r
complete -c wsproxy -l chroot -d 'Make this directory the root when all is opened; names are looked up with the files in it' -r -F
complete -c wsproxy -l timeout -d 'End after this time' -r
complete -c wsproxy -l idle-timeout -d 'End when there has been no connection for this time' -r
complete -c wsproxy -l drain -d 'When told to end, give open connections this time, then close them with code 1001' -r
complete -c wsproxy -l metrics -d 'Serve /metrics for Prometheus and /healthz at this address' -r
complete -c wsproxy -l log-file -d 'Append the log to this file; default standard error' -r -F
complete -c wsproxy -l syslog -d 'Log to syslog as well (RFC 5424): a socket such as /dev/log, or HOST:PORT for UDP' -r
complete -c wsproxy -l log-format -d 'The form of log lines: text or json' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c wsproxy -l inetd -d 'Standard input is the listening socket (inetd\'s wait) or a connection (nowait)'
complete -c wsproxy -s D -l daemon -d 'Run in the background'
complete -c wsproxy -s f -l foreground -d 'Run in the foreground, which is the default'
complete -c wsproxy -l run-once -d 'Serve one WebSocket and end with it'
complete -c wsproxy -s h -l help -d 'Print help'
complete -c wsproxy -s V -l version -d 'Print version'
complete -c wsproxy -s v -l verbose -d 'Log more, such as connections without a request'
