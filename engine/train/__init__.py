"""Fine-tuning with LoRA: rows, objectives (SFT, DPO), the loop on Accelerate, checkpoints.

`engine.train.config`, `engine.train.rows` and `engine.train.report` import no torch. One way in::

    learned, cuts = rows.fit([rows.SftRow(prompt, completion, key), ...], config.max_length)
    trained = loop.train(decoder, learned, config, control=control, hooks=hooks, checkpoints=folder)
    lora.save(trained.adapter, folder, base_model=name, family=decoder.architecture.family)
"""
