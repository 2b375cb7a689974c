"""`minilora import-peft` and `export-peft`."""

import minilora
from minilora.verbs.opening import check_file, open_model


def import_peft(options):
    from minilora.interop import load_peft

    check_file(options.out, "adapter.safetensors")
    model = open_model(options)
    load_peft(model, options.folder)
    minilora.save_adapter(model, options.out)
    print(f"{options.out}: the adapter")


def export_peft(options):
    from minilora.interop import save_peft

    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to export")
    save_peft(open_model(options, options.adapter), options.out, base=options.base)
    print(f"{options.out}: the adapter for PEFT")
