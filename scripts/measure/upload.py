"""Rows that waited go up over the loopback: time beside curl, which makes the same requests."""

import shutil
import subprocess

from bench import waited
from counts import curl_config
from figures import Figure

PUNCHES = 20_000


def drain(bench):
    """From the arrival of the first request with rows until the last was answered, as the server sees it."""
    figures = []
    for counts in True, False:
        figure = Figure(
            f"20 000 punches, loopback, server {'counts' if counts else 'says bare OK'}",
            "s",
            floor_name="curl with the same requests + one fdatasync a request",
            goal="≤ 1.3 ×",
        )
        figures.append(figure)
        if not shutil.which("curl"):
            figure.remark = "not measured: there is no curl"
            continue
        server = bench.server(counts=counts, light=True, Delay=3600)
        terminal = bench.terminal(server.url(), store=bench.store_with_punches(PUNCHES))
        waited(server.wait(lambda: server.row_count >= PUNCHES and server.of("punches")[-1].answered, 600), "the punches", terminal)
        terminal.stop()
        requests = server.of("punches")
        figure.values.append(span(requests))
        floor = bench.server(counts=counts, light=True)
        (bench.place / "curl.conf").write_text(curl_config(bench, floor.url(), requests))
        subprocess.run(["curl", "--config", bench.place / "curl.conf"], check=True)
        figure.floors.append(span(floor.of("punches")) + bench.fdatasync(len(requests)))
        figure.remark = f"{len(requests)} requests"
    return figures


def span(requests):
    return max(request.answered for request in requests) - min(request.arrived for request in requests)
