"""The standard architectures in PyTorch: what `export.py` turns into ONNX.

Library models where a library has them; written out here where the usual export would hide what
the model is for (a decoder with its cache as inputs and outputs, opset 23's attention).
"""
import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class Call(nn.Module):
    """A model whose forward is `function(model, *inputs)`: picks and names what is exported."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs):
        return self.function(self.model, *inputs)


def vision(name, **options):
    return lambda: getattr(torchvision.models, name)(weights=None, **options)


def deit_tiny():
    import timm
    return timm.create_model("deit_tiny_patch16_224", pretrained=False)


def ssdlite():
    def detect(model, x):
        found = model([x[0]])[0]
        return found["boxes"], found["scores"], found["labels"]
    detection = torchvision.models.detection
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    return Call(model, detect)


def deeplab():
    segmentation = torchvision.models.segmentation
    model = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)
    return Call(model, lambda m, x: m(x)["out"])


def bert():
    import transformers
    model = transformers.BertModel(transformers.BertConfig(attn_implementation="eager"))
    return Call(model, lambda m, ids, mask: m(input_ids=ids, attention_mask=mask).last_hidden_state)


def distilbert():
    import transformers
    config = transformers.DistilBertConfig(attn_implementation="eager")
    return Call(transformers.DistilBertModel(config),
                lambda m, ids, mask: m(input_ids=ids, attention_mask=mask).last_hidden_state)


def whisper(width, layers, heads):
    def build():
        import transformers
        config = transformers.WhisperConfig(
            d_model=width, encoder_layers=layers, encoder_attention_heads=heads,
            encoder_ffn_dim=4 * width, decoder_layers=1, decoder_attention_heads=heads,
            decoder_ffn_dim=4 * width, attn_implementation="eager")
        return Call(transformers.WhisperModel(config).encoder, lambda m, x: m(x).last_hidden_state)
    return build


class UNet(nn.Module):
    """Four levels, BatchNorm, transposed convolutions; 31 M parameters."""

    def __init__(self, channels=3, classes=2, width=64):
        super().__init__()
        widths = [width << level for level in range(5)]

        def block(inside, outside):
            layers = []
            for source in (inside, outside):
                layers += [nn.Conv2d(source, outside, 3, padding=1, bias=False),
                           nn.BatchNorm2d(outside), nn.ReLU()]
            return nn.Sequential(*layers)
        steps = list(zip(widths[:-1], widths[1:]))
        self.down = nn.ModuleList([block(channels, width), *(block(a, b) for a, b in steps)])
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in steps)
        self.join = nn.ModuleList(block(2 * a, a) for a, _ in steps)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        levels = [self.down[0](x)]
        for block in self.down[1:]:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for skip, up, join in zip(reversed(levels), reversed(self.up), reversed(self.join)):
            x = join(torch.cat([skip, up(x)], 1))
        return self.head(x)


class Speech(nn.Module):
    """[batch, frames, 80] to log-probabilities: two convolutions, three bidirectional layers."""

    def __init__(self, cell, hidden=512, symbols=32):
        super().__init__()
        layers = []
        for inside, stride in ((1, (2, 2)), (32, (1, 2))):
            layers += [nn.Conv2d(inside, 32, 11, stride, 5), nn.BatchNorm2d(32), nn.Hardtanh(0, 20)]
        self.conv = nn.Sequential(*layers)
        self.recurrent = cell(32 * 20, hidden, 3, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, symbols)

    def forward(self, x):
        x = self.conv(x[:, None]).transpose(1, 2).flatten(2)
        return F.log_softmax(self.head(self.recurrent(x)[0]), -1)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Decoder(nn.Module):
    """A decoder-only transformer in one of three styles.

    gpt: LayerNorm, tanh GELU, learned positions, one q-k-v projection, head tied to the embedding.
    llama: RMSNorm, SwiGLU, rotary positions, grouped-query attention. llama23: the same through
    PyTorch's own RMSNorm and attention, which opset 23 has operators for.
    With `cache`, keys and values of the past are inputs and those of past and present outputs.
    """

    def __init__(self, style, vocabulary, width, layers, heads, groups, inner, cache=False,
                 positions=1024):
        super().__init__()
        self.style, self.cache, self.gpt = style, cache, style == "gpt"
        self.heads, self.groups, self.size = heads, groups, width // heads
        norm = {"gpt": nn.LayerNorm, "llama": RmsNorm,
                "llama23": lambda width: nn.RMSNorm(width, 1e-5)}[style]
        kv = groups * self.size
        linear = ({"qkv": (width, 3 * width), "up": (width, inner)} if self.gpt else
                  {"q": (width, width), "k": (width, kv), "v": (width, kv),
                   "gate": (width, inner), "up": (width, inner)})
        linear |= {"down": (inner, width), "out": (width, width)}
        self.embedding, self.norm = nn.Embedding(vocabulary, width), norm(width)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"before": norm(width), "between": norm(width)}
                          | {n: nn.Linear(a, b, bias=self.gpt) for n, (a, b) in linear.items()})
            for _ in range(layers))
        if self.gpt:
            self.position = nn.Embedding(positions, width)
        else:
            self.head = nn.Linear(width, vocabulary, bias=False)
            rate = 10000.0 ** (-torch.arange(0, self.size, 2) / self.size)
            angle = torch.outer(torch.arange(positions).float(), rate).repeat(1, 2)
            self.register_buffer("cos", angle.cos())
            self.register_buffer("sin", angle.sin())
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)

    def projections(self, layer, x, extents, angles):
        def split(y, heads):
            return y.reshape(*extents, heads, self.size).transpose(1, 2)

        def rotate(y):
            first, second = y.chunk(2, -1)
            return y * angles[0] + torch.cat([-second, first], -1) * angles[1]
        if self.gpt:
            return [split(y, self.heads) for y in layer["qkv"](x).chunk(3, -1)]
        q, k, v = (split(layer[name](x), heads) for name, heads in
                   (("q", self.heads), ("k", self.groups), ("v", self.groups)))
        return rotate(q), rotate(k), v

    def attend(self, q, k, v, mask):
        if self.style == "llama23":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        if self.groups != self.heads:
            k, v = (y[:, :, None].expand(-1, -1, self.heads // self.groups, -1, -1).flatten(1, 2)
                    for y in (k, v))
        score = q @ k.transpose(-1, -2) / self.size ** 0.5
        return score.masked_fill(~mask, -1e9).softmax(-1) @ v

    def forward(self, input_ids, *past):
        batch, length = input_ids.shape
        before = past[0].shape[2] if self.cache else 0
        at = torch.arange(before, before + length)
        mask = torch.arange(before + length)[None, :] <= at[:, None]
        x, present, angles = self.embedding(input_ids), [], None
        if self.gpt:
            x = x + self.position(at)
        else:
            if self.style == "llama23":
                at = slice(length)      # exports as Slice, where a range would become GatherND
            angles = self.cos[at], self.sin[at]
        for i, layer in enumerate(self.layers):
            q, k, v = self.projections(layer, layer["before"](x), (batch, length), angles)
            if self.cache:
                k, v = torch.cat([past[2 * i], k], 2), torch.cat([past[2 * i + 1], v], 2)
                present += [k, v]
            mixed = self.attend(q, k, v, mask).transpose(1, 2).reshape(batch, length, -1)
            x = x + layer["out"](mixed)
            y = layer["between"](x)
            inner = (F.gelu(layer["up"](y), approximate="tanh") if self.gpt else
                     F.silu(layer["gate"](y)) * layer["up"](y))
            x = x + layer["down"](inner)
        x = self.norm(x)
        logits = x @ self.embedding.weight.T if self.gpt else self.head(x)
        return (logits, *present) if self.cache else logits


def decoder(style, *sizes, cache=False):
    # Without a cache the variadic `past` would become an input of the graph.
    return lambda: (Decoder(style, *sizes, cache=True) if cache else
                    Call(Decoder(style, *sizes), lambda model, ids: model(ids)))


GPT2 = (50257, 768, 12, 12, 12, 3072)
LLAMA = (32000, 768, 12, 12, 4, 2048)
LLAMA_23 = (32000, 512, 8, 8, 2, 1408)
IMAGES = {"x": {0: "batch"}}
TOKENS = {name: {0: "batch", 1: "seq"} for name in ("input_ids", "attention_mask")}
SEQUENCE = {"input_ids": {1: "seq"}}
FRAMES = {"x": {0: "batch", 1: "frames"}}
STATES = [f"{letter}_{layer}" for layer in range(12) for letter in "kv"]
CACHE = (SEQUENCE | {"logits": {1: "seq"}} | {f"past_{s}": {2: "past"} for s in STATES}
         | {f"present_{s}": {2: "total"} for s in STATES})
CACHED = ["logits", *(f"present_{s}" for s in STATES)]

# name: (builder, exporter, opset, dynamic axes, output names)
ARCHITECTURES = {
    "resnet50": (vision("resnet50"), "dynamo", 18, IMAGES, ["y"]),
    "resnet50-fp16": (vision("resnet50"), "dynamo", 18, {}, ["y"]),
    "mobilenet-v2": (vision("mobilenet_v2"), "script", 13, IMAGES, ["y"]),
    "mobilenet-v3-large": (vision("mobilenet_v3_large"), "dynamo", 20, {}, ["y"]),
    "efficientnet-b0": (vision("efficientnet_b0"), "script", 17, {}, ["y"]),
    "vgg16": (vision("vgg16"), "script", 11, {}, ["y"]),
    "densenet121": (vision("densenet121"), "dynamo", 18, {}, ["y"]),
    "convnext-tiny": (vision("convnext_tiny"), "dynamo", 18, {}, ["y"]),
    "vit-b16": (vision("vit_b_16"), "script", 17, {}, ["y"]),
    "deit-tiny": (deit_tiny, "dynamo", 20, IMAGES, ["y"]),
    "swin-t": (vision("swin_t"), "script", 17, {}, ["y"]),
    "ssdlite320": (ssdlite, "script", 17, {}, ["boxes", "scores", "labels"]),
    "deeplabv3-mnv3": (deeplab, "dynamo", 18, {}, ["y"]),
    "unet": (UNet, "dynamo", 18, {}, ["y"]),
    "bert-base": (bert, "dynamo", 20, TOKENS, ["last_hidden_state"]),
    "distilbert": (distilbert, "script", 17, TOKENS, ["last_hidden_state"]),
    "gpt2": (decoder("gpt", *GPT2), "dynamo", 18, SEQUENCE, ["logits"]),
    "gpt2-kv": (decoder("gpt", *GPT2, cache=True), "script", 17, CACHE, CACHED),
    "llama-160m-kv": (decoder("llama", *LLAMA, cache=True), "script", 17, CACHE, CACHED),
    "llama-op23": (decoder("llama23", *LLAMA_23), "dynamo", 23, SEQUENCE, ["logits"]),
    "whisper-tiny-enc": (whisper(384, 4, 6), "dynamo", 18, {}, ["hidden"]),
    "whisper-base-enc": (whisper(512, 6, 8), "script", 17, {}, ["hidden"]),
    "speech-lstm": (lambda: Speech(nn.LSTM), "script", 17, FRAMES, ["y"]),
    "speech-gru": (lambda: Speech(nn.GRU), "script", 14, FRAMES, ["y"]),
}
