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
complete -c wsproxy -l token-plugin -d 'Look up the target of each client by a token, in its request\'s ?token= or else its path: TokenFile, ReadOnlyTokenFile, TokenFileName, BaseTokenAPI, JSONTokenApi, JWTTokenApi, TokenRedis or UnixDomainSocketDirectory' -r
complete -c wsproxy -l token-source -d 'What the plugin is to use: a file, a directory, a URL with %s in it, or HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]] of a Redis server, or its redis:// or (with TLS) rediss:// URL' -r
complete -c wsproxy -l token-source-file -d 'The file whose first line is that, as it may hold a password' -r -F
complete -c wsproxy -l target-config -d 'The same as --token-plugin TokenFile --token-source FILE' -r -F
complete -c wsproxy -l origin -d 'Let in pages of this origin only, as https://example.org; repeatable' -r
complete -c wsproxy -l basic-auth-file -d 'Ask for a name and password (HTTP\'s Basic) of this file, which htpasswd -B writes' -r -F
complete -c wsproxy -l auth-plugin -d 'Let in who satisfies BasicHTTPAuth, ExpectOrigin or ClientCertCNAuth' -r
complete -c wsproxy -l auth-source -d 'What the plugin is to let in: USER:PASSWORD, or origins or common names with spaces between them' -r
complete -c wsproxy -l auth-source-file -d 'The file whose first line is that, as a command line is no place for a password' -r -F
complete -c wsproxy -l cert -d 'Speak TLS, too, with this certificate: PEM, the chain behind it. Repeated, each client gets the certificate for the name that it asks for, or the first. Without it self.pem is used, if it is there. Files that change are read again' -r -F
complete -c wsproxy -l key -d 'The private key, unless it stands in the certificate\'s file; repeated, in any order' -r -F
complete -c wsproxy -l key-password-file -d 'The file whose first line is the password of encrypted private keys (PKCS#8)' -r -F
complete -c wsproxy -l ssl-version -d 'The oldest version of TLS to speak: tlsv1_2 or tlsv1_3' -r
complete -c wsproxy -l ssl-ciphers -d 'The cipher suites to speak, and no others, by their names in OpenSSL or in RFCs, most preferred first' -r
complete -c wsproxy -l cafile -d 'Trust the authorities of this file (PEM) with certificates of clients, and no others' -r -F
complete -c wsproxy -l ssl-target-ca -d 'Trust the authorities of this file (PEM) with the target\'s certificate, and no others' -r -F
complete -c wsproxy -l web -d 'Serve the files of this directory on the same port; index.html stands for its directory' -r -F
complete -c wsproxy -l header -d 'Add this header field to web replies, in place of the server\'s own of that name; repeatable' -r
complete -c wsproxy -l record -d 'Record each connection in a file of its own, FILE.N, where N is its number in the log. What passes may be secret: the file is its owner\'s alone' -r -F
complete -c wsproxy -l record-format -d 'What a recording looks like: js, as in 2011, for noVNC\'s player; or jsonl, with times, directions and base64' -r
complete -c wsproxy -l wrap-mode -d 'When PROGRAM ends: exit with its status, the default; ignore it and serve on; or respawn it, unless it has ended three times within ten seconds' -r -f -a "exit\t'End with it'
ignore\t'Serve on'
respawn\t'Start it again'"
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
complete -c wsproxy -l host-token -d 'The token is the name of the host that the client asked for, in small letters'
complete -c wsproxy -l self-signed -d 'Speak TLS with a certificate made for this run, and print its SHA-256 fingerprint'
complete -c wsproxy -l ssl-only -d 'Turn away clients without TLS'
complete -c wsproxy -l verify-client -d 'Turn away clients without a certificate of an authority that the system trusts, and those without TLS'
complete -c wsproxy -l ssl-target -d 'Speak TLS to the target, whose certificate must be for its name and of an authority that the system trusts'
complete -c wsproxy -l ssl-target-insecure -d 'Take the target for what it says it is, whatever its certificate'
complete -c wsproxy -l web-list -d 'List directories that have no index.html'
complete -c wsproxy -l file-only -d 'Do not list directories, which is how it is anyway'
complete -c wsproxy -l web-auth -d 'Ask clients for the same credentials for files as for WebSockets'
complete -c wsproxy -l traffic -d 'Show what moves on standard output, a sign for each frame and each read or write of the target'
complete -c wsproxy -s D -l daemon -d 'Run in the background'
complete -c wsproxy -s f -l foreground -d 'Run in the foreground, which is the default'
complete -c wsproxy -l run-once -d 'Serve one WebSocket and end with it'
complete -c wsproxy -s h -l help -d 'Print help'
complete -c wsproxy -s V -l version -d 'Print version'
complete -c wsproxy -s v -l verbose -d 'Log more, such as connections without a request'
