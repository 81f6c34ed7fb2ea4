"""The lab: a pretend Internet on loopback with known truth, without root.

A name server that answers for every name, and mail servers that show every behaviour the vocabulary can name.  The
truth about a name follows from the seed and the list, so a scan of the lab can be held against it.

    mix · behaviours ◀─ hosts_tls, hosts_plain, hosts_handshake, hosts_hostile, hosts_odd · routes
                     ◀─ world ◀─ dns_server · authority ◀─ tls_server ◀─ mail_server ◀─ lab
"""
