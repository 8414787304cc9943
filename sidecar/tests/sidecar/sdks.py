"""Drives the SDKs of OpenAI and Anthropic against a small gateway that asks a sidecar.

Usage: sdks.py SOCKET. Prints one JSON object a call: which SDK and limit, how many requests it made, and what it
understood of the refusal. The gateway hands a refusal on as it is.
"""

import http.client
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai

SOCKET = sys.argv[1]
COMPLETION = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "hello", "refusal": None}}],
}
MESSAGE = {
    "id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "hello"}],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
ANSWERS = {"/openai": COMPLETION, "/anthropic": MESSAGE}
seen = []


class Sidecar(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        seen.append(self.path)
        sdk = "/" + self.path.split("/")[1]
        sidecar = Sidecar("sidecar")
        sidecar.request("GET", "/v1/authorize", headers={
            "x-tenant-id": "acme",
            "x-tollgate-subject": self.headers["x-subject"],
            "x-forwarded-method": "POST",
            "x-forwarded-uri": "/" + self.headers["x-limit"],
        })
        answer = sidecar.getresponse()
        body = answer.read()
        headers = [(name, value) for name, value in answer.getheaders()
                   if name.lower() not in ("content-length", "date", "connection", "transfer-encoding")]
        if answer.status == 200:
            headers, body = [("content-type", "application/json")], json.dumps(ANSWERS[sdk]).encode()
        self.send_response(answer.status)
        for name, value in headers + [("content-length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def call(sdk, url, limit):
    """One call of an SDK with its own rules of trying again."""
    headers = {"x-subject": sdk, "x-limit": limit}
    messages = [{"role": "user", "content": "hi"}]
    if sdk == "openai":
        client = openai.OpenAI(api_key="none", base_url=url + "/openai", default_headers=headers)
        client.chat.completions.create(model="m", messages=messages)
    else:
        client = anthropic.Anthropic(api_key="none", base_url=url + "/anthropic", default_headers=headers)
        client.messages.create(model="m", max_tokens=9, messages=messages)


def tell(sdk, url, limit, which):
    seen.clear()
    said = {"sdk": sdk, "limit": limit, "call": which, "error": None}
    began = time.monotonic()
    try:
        call(sdk, url, limit)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        # The one hands out the member `error` of the body, the other the whole.
        body = error.body.get("error", error.body)
        said["error"] = {"class": type(error).__name__, "status": error.status_code, "type": body["type"],
                         "code": body["code"], "limit": body["details"]["limit"], "message": str(error)}
    said["requests"] = len(seen)
    said["ms"] = round((time.monotonic() - began) * 1000)
    print(json.dumps(said), flush=True)


gateway = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
threading.Thread(target=gateway.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{gateway.server_address[1]}"
for sdk in ("openai", "anthropic"):
    for limit in ("budget", "bucket", "far"):
        for which in (1, 2):
            tell(sdk, url, limit, which)
