"""Fine-tuning with LoRA: rows, objectives (SFT, DPO), the loop on Accelerate, checkpoints.

`engine.train.config` and `engine.train.rows` and `engine.train.report` import no torch. One way in::

    rows, cuts = rows.fit([rows.sft_row(encode, end, prompt, completion, key) ...], config.max_length)
    trained = loop.train(decoder, rows, config, control=control, hooks=hooks, checkpoints=folder)
    lora.save(trained.adapter, folder, base_model=name, family=decoder.architecture.family)
"""
