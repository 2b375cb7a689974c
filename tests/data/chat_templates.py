"""Chat templates as models have them, and conversations to write with them. tests/golden/make_chat.py uses both."""

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "SYSTEM<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "smollm2": CHATML.replace("SYSTEM", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2": CHATML.replace("SYSTEM", "You are a helpful assistant."),
    "llama3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
        "{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
    ),
    "everything": """
{%- set ns = namespace(n=0) -%}
{% for message in messages %}
    {% if message.role == "system" %}
        {% continue %}
    {% endif %}
    {% set ns.n = ns.n + 1 %}
    {% generation %}
    {{ ns.n }}: {{ message | tojson }} {{ message.content | trim | upper }}
    {% endgeneration %}
    {% if ns.n > 3 %}{% break %}{% endif %}
{% endfor %}
{{ {"b": "<é>", "a": [1, 2]} | tojson(indent=2, sort_keys=true) }}{{ tools is none }}{{ documents }}
{% if add_generation_prompt %}next{% endif %}

""",
}
TOKENS = {
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "qwen2": ("", "<|im_end|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "mistral": ("<s>", "</s>"),
    "everything": ("<s>", "</s>"),
}


def said(*contents, system=None):
    """A conversation of user and assistant by turns."""
    begin = [] if system is None else [{"role": "system", "content": system}]
    return begin + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


CONVERSATIONS = [
    said("Hello!", "Good morning."),
    said("Hello!", "Good morning.", "And now?", "Good night.", system="Be brief."),
    said("Only a question?"),
    said(" spaces ", "\n\nline\nbreaks\n", "日本語 é \U0001f600", "<b>&amp;</b> \"quoted\" 'twice'", "5", "6"),
    said("x", "y", system=""),
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "No."}],
]
