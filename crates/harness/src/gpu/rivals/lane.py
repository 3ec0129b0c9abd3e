"""Times kernels of other people's libraries on tensors that the harness has made.

A trusted process of its own. It is asked on stdin and answers on stdout, one JSON object a line each. What is timed stands in
files of the contract: a function a rival, which takes a kit and returns a function without arguments that computes the outputs.
"""

import importlib
import json
import mmap
import os
import sys
import time
import traceback

# Libraries print as they like: answers have a descriptor of their own, and everything else goes to stderr.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# Calls that are thrown away, and calls that decide between a graph and plain launches.
WARM_UP = 3
TRIAL = 7


class Skipped(Exception):
    """There is nothing to time, and why."""


def needed(name):
    """A library, or the reason why there is none."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Skipped(f"{name} is not here ({error})") from error
    except Exception as error:  # A library that breaks while it is loaded is as good as none.
        raise Skipped(f"{name} cannot be loaded ({type(error).__name__}: {error})") from error


class Kit:
    """What a rival is given: tensors and scalars by name, axes, and torch."""

    def __init__(self, torch, tensors, axes, scalars, device):
        self.torch, self.axes, self.scalars, self.device = torch, axes, scalars, device
        self.tensors = tensors
        self.versions = {}

    def __getitem__(self, name):
        return self.tensors[name]

    def needs(self, name):
        """A library beside torch."""
        library = needed(name)
        self.versions[name] = str(getattr(library, "__version__", "unknown"))
        return library

    def compile(self, function, *inputs):
        """torch.compile for exactly these inputs, autotuned; graphs are captured afterwards, by the lane."""
        self.torch._dynamo.reset()
        mode = "max-autotune-no-cudagraphs" if self.device == "cuda" else "default"
        compiled = self.torch.compile(function, mode=mode, dynamic=False)
        return lambda: compiled(*inputs)


class Lane:
    """One shape of one rival at a time."""

    def __init__(self, hello):
        self.torch = torch = needed("torch")
        self.device = hello["device"]
        if self.device == "cuda":
            if not torch.cuda.is_available():
                raise Skipped("torch sees no CUDA device")
            torch.cuda.init()
        self.flush = torch.empty(hello["flush_bytes"], dtype=torch.uint8, device=self.device)
        self.opened = None
        self.written = None

    def facts(self):
        device = self.torch.cuda.get_device_name(0) if self.device == "cuda" else "cpu"
        return {"python": sys.version.split()[0], "torch": str(self.torch.__version__), "device": device}

    def close(self):
        self.opened = None
        self.outputs = None
        if self.written:
            self.written.close()
            self.written = None
        if self.device == "cuda":
            self.torch.cuda.synchronize()
            self.torch.cuda.empty_cache()

    def open(self, request):
        self.close()
        torch = self.torch
        # The harness keeps its descriptors open only until it has an answer.
        self.written = open(request["outputs_file"], "r+b", buffering=0)
        file = request["inputs_file"]
        tensors = {spec["name"]: self.upload(file, spec) for spec in request["inputs"]}
        kit = Kit(torch, tensors, request["axes"], request["scalars"], self.device)
        module = {"__name__": "rivals"}
        exec(compile(request["source"], request["file"], "exec"), module)
        with torch.no_grad():
            call = module[request["rival"]](kit)
            if call is None:
                raise Skipped("it has nothing for this shape")
            run, how = self.fastest(call)
        self.opened = (run, how, request)
        versions = ", ".join(f"{name} {version}" for name, version in sorted(kit.versions.items()))
        return {"how": how, "versions": versions}

    def upload(self, file, spec):
        torch = self.torch
        dtype = getattr(torch, spec["dtype"])
        shape = tuple(spec["shape"])
        if spec["bytes"] == 0:
            return torch.empty(shape, dtype=dtype, device=self.device)
        page = mmap.ALLOCATIONGRANULARITY
        begin = spec["offset"] // page * page
        away = spec["offset"] - begin
        with open(file, "rb") as handle:
            mapped = mmap.mmap(handle.fileno(), away + spec["bytes"], access=mmap.ACCESS_READ, offset=begin)
        view = torch.frombuffer(bytearray(mapped[away : away + spec["bytes"]]), dtype=dtype)
        mapped.close()
        return view.reshape(shape).to(self.device)

    def fastest(self, call):
        """A CUDA graph of the call, or the call as it is, whichever is faster here."""
        for _ in range(WARM_UP):
            self.outputs = call()
        if self.device != "cuda":
            return call, "plain"
        try:
            graph = self.graph(call)
        except Exception as error:
            note(f"not captured: {type(error).__name__}: {error}")
            self.torch.cuda.synchronize()
            return call, "plain"
        median = lambda run: sorted(self.times(run, TRIAL))[TRIAL // 2]
        return (graph, "graph") if median(graph) <= median(call) else (call, "plain")

    def graph(self, call):
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = call()

        def replay():
            graph.replay()
            return outputs

        return replay

    def times(self, run, calls):
        """Microseconds of so many calls, the cache overwritten before each."""
        torch = self.torch
        if self.device != "cuda":
            taken = []
            for _ in range(calls):
                self.flush.fill_(1)
                begin = time.perf_counter()
                self.outputs = run()
                taken.append((time.perf_counter() - begin) * 1e6)
            return taken
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
        with torch.no_grad():
            for number, (start, stop) in enumerate(events):
                self.flush.fill_(number & 127)
                start.record()
                self.outputs = run()
                stop.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(stop) * 1e3 for start, stop in events]

    def batch(self, request):
        run, _, _ = self.opened
        return {"times_us": self.times(run, request["calls"])}

    def fetch(self):
        """Writes the outputs of the last call where the harness looks for them."""
        torch = self.torch
        _, _, request = self.opened
        outputs = self.outputs if isinstance(self.outputs, (tuple, list)) else (self.outputs,)
        if len(outputs) != len(request["outputs"]):
            raise Skipped(f"it computes {len(outputs)} outputs, the contract has {len(request['outputs'])}")
        for spec, tensor in zip(request["outputs"], outputs):
            flat = tensor.detach().to(getattr(torch, spec["dtype"])).contiguous().reshape(-1).view(torch.uint8)
            content = memoryview(flat.cpu().numpy())
            if len(content) != spec["bytes"]:
                raise Skipped(f"`{spec['name']}` has {len(content)} bytes, the contract says {spec['bytes']}")
            self.written.seek(spec["offset"])
            while len(content):
                content = content[self.written.write(content) :]
        return {}


def note(text):
    print(text, file=sys.stderr, flush=True)


def answer(lane, request):
    do = request["do"]
    if do == "open":
        return lane.open(request)
    if do == "batch":
        return lane.batch(request)
    if do == "fetch":
        return lane.fetch()
    lane.close()
    return {}


def say(frame):
    ANSWERS.write(json.dumps(frame) + "\n")
    ANSWERS.flush()


def main():
    lane = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "hello":
                lane = Lane(request)
                say({"ok": lane.facts()})
            else:
                say({"ok": answer(lane, request)})
        except Skipped as why:
            say({"skipped": str(why)})
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip().splitlines()
            say({"skipped": f"{type(error).__name__}: {text[0] if text else ''}"[:400]})


if __name__ == "__main__":
    main()
