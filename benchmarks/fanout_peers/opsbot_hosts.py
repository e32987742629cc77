"""The job's addresses as opsbot's inventory would describe them."""

from peer import Job

from opsbot.domain import Host


def hosts_of(work: Job) -> list[Host]:
    """One host an address, with its pinned key."""
    return [
        Host(
            f"host-{number}",
            address=address,
            port=work.port,
            user=work.user,
            key_file=work.key_file,
            host_key=work.host_key,
        )
        for number, address in enumerate(work.addresses, 1)
    ]
